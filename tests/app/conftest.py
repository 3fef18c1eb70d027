"""The pages, run without a browser: a real store with made-up versions, model servers that answer in-process."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from pages.components.registry import list_view, model_state
from pages.components.shared import ui
from phi3core import tags
from phi3core.chat import live_conversations
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import add_conversation
from phi3core.promotion.promote import promote, set_alias
from phi3core.promotion.record import search
from phi3core.promotion.record.model import Record
from phi3core.registry.index import get_index
from phi3core.settings import Settings
from phi3core.traces.turn import Turn
from tests.app.chatting import WORDS, chat_version
from tests.app.people import ANN, RUTH
from tests.app.servers import FakePool, HeldEngine
from tests.conftest import home_of_its_own
from tests.support import fakes

ROOT = Path(__file__).resolve().parent.parent.parent
Open = Callable[..., AppTest]
_page_table: dict[str, Any] = {}
Register = Callable[..., str]


@pytest.fixture(scope="package", autouse=True)
def _components_scanned_once() -> Iterator[None]:
    """Streamlit reads the metadata of every installed package at every run of an AppTest: half of what a test takes."""
    with pytest.MonkeyPatch.context() as patch:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Streamlit's caches and the live conversations survive from one test to the next."""
    st.cache_data.clear()
    st.cache_resource.clear()
    live_conversations._live.clear()
    yield
    st.cache_data.clear()
    st.cache_resource.clear()
    live_conversations._live.clear()


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePool]:
    pool = FakePool()
    monkeypatch.setattr(ui, "servers", lambda: pool)
    yield pool
    pool.close()


@pytest.fixture
def engine(servers: FakePool) -> fakes.FakeEngine:
    engine = fakes.FakeEngine(WORDS)
    servers.engines = lambda ref: engine
    return engine


@dataclass(frozen=True)
class HeldAnswer:
    """An answer that has come to “The capital” and goes on once `engine.go` is set."""

    engine: HeldEngine
    talk: Conversation
    turn: Turn


@pytest.fixture
def held(register: Register, settings: Settings, servers: FakePool) -> HeldAnswer:
    """The first answer of a conversation with phi3/1, held in mid-sentence."""
    engine = HeldEngine(WORDS, hold_at=2)
    servers.engines = lambda ref: engine
    register()
    talk = add_conversation(Conversation(settings, servers))  # type: ignore[arg-type]
    turn = talk.ask(chat_version(settings), "Hello").turn
    fakes.until(lambda: turn.answer == "The capital")
    return HeldAnswer(engine, talk, turn)


@pytest.fixture
def open_page(settings: Settings, servers: FakePool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a page by its name as a browser would, with the query of its address."""
    # What is not known in a moment is drawn later, by a fragment, and a test has no fragment runs.
    monkeypatch.setattr(model_state, "_PATIENCE", 10.0)
    monkeypatch.setattr(list_view, "_PATIENCE", 10.0)

    def open_(page: str, /, **query: str) -> AppTest:
        at = AppTest.from_file(ROOT / "app.py", default_timeout=60)
        if not _page_table:
            _page_table.update(at.run()._registered_pages)
        at._registered_pages = dict(_page_table)  # without it a session knows no page until it has drawn Home
        at.query_params = dict(query)
        at.switch_page(f"pages/{page}_page.py").run()
        return at

    yield open_
    get_index(settings).stop()  # the registry page starts it where no app server has


def registering(settings: Settings, models: Path) -> Register:
    """What registers a version that has everything but weights, and returns its reference."""

    def register_(name: str = "phi3", wrapper: str = "onnx", **options: object) -> str:
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

        folder = models / f"logged-{name}-{len(list(models.glob('logged-*')))}"
        folder.mkdir()
        signature = ModelSignature(
            Schema([ColSpec(DataType.string, "prompt")]),
            Schema([ColSpec(DataType.string)]),
            ParamSchema([ParamSpec("temperature", DataType.double, 0.4)]),
        )
        metadata = {"phi3": {"wrapper": wrapper, "options": {"temperature": 0.4, "max_tokens": 50, **options}}}
        model = Model(flavors={"python_function": {}}, signature=signature, metadata=metadata)
        model.save(str(folder / "MLmodel"))
        tag_values = {
            tags.WRAPPER: wrapper,
            tags.SOURCE: "embedded",
            tags.PRECISION: "int4" if wrapper == "onnx" else "bfloat16",
            tags.LICENCE: "apache-2.0",
            tags.SIZE: "117000000",
        }
        speed = {tags.TOKENS_PER_SECOND: 123.4, tags.FIRST_TOKEN_MS: 41.0}
        return f"{name}/{fakes.register(settings, name, folder.as_uri(), tag_values, speed)}"

    return register_


@pytest.fixture
def register(settings: Settings, tmp_path: Path) -> Register:
    return registering(settings, tmp_path)


@pytest.fixture(scope="package")
def history_home(empty_store: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which phi3 and other were promoted, made once; each test works in a copy."""
    folder = tmp_path_factory.mktemp("history")
    with home_of_its_own(folder / "home", cache, empty_store) as settings:
        register = registering(settings, folder)
        register(), register(), register("other")
        promote(settings, "phi3/1", "Production", "First", RUTH)
        set_alias(settings, "phi3/2", "champion", "Wins <b>always</b>", RUTH)
        promote(settings, "phi3/2", "Production", "Faster", ANN)
        promote(settings, "other/1", "Staging", "", ANN)
    return folder / "home"


@pytest.fixture
def history(history_home: Path, settings: Settings) -> list[Record]:
    """What was done to phi3 and other, newest first."""
    shutil.copytree(history_home, settings.home, dirs_exist_ok=True)
    return list(search.page(settings).records)


def said(at: AppTest) -> str:
    """Everything a page says in words."""
    kinds = (at.title, at.subheader, at.markdown, at.caption, at.info, at.warning, at.error, at.success)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def links(at: AppTest) -> dict[str, str]:
    """The page's links: label → where they lead."""
    return {link.label: f"{link.page}?{link.proto.query_string}".rstrip("?") for link in at.page_link}
