"""Engines for tests: on a runtime without a model, and of MLflow models that are made once."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from phi3core.engine.decoder import Decoder
from phi3core.engine.decoder_graph import read_graph
from phi3core.engine.interface import Options
from phi3core.engine.pyfunc import PyfuncEngine
from phi3core.engine.tokens import TokenEngine
from phi3core.settings import Settings
from tests.support import third_party
from tests.support.asking_pyfunc import Opener
from tests.support.fake_runtime import FakeRuntime
from tests.support.rows import ROOM, VOCABULARY


@pytest.fixture(params=["loose", "strict"])
def runtime(request: pytest.FixtureRequest) -> FakeRuntime:
    return FakeRuntime(request.param)


@pytest.fixture
def engine(runtime: FakeRuntime) -> TokenEngine:
    return TokenEngine(runtime, Options(), budget=100_000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of saved models, each made once."""
    home, folders = tmp_path_factory.mktemp("made"), dict[str, Path]()

    def make(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = third_party.save(home / kind, kind)
        return folders[kind]

    return make


@pytest.fixture
def opened(made: Callable[[str], Path], untraced: None) -> Opener:
    return lambda kind: PyfuncEngine(made(kind))


@pytest.fixture
def untraced(settings: Settings) -> Iterator[None]:
    """MLflow traces a ResponsesAgent by itself, into a store that it makes where there is none: not here."""
    import mlflow

    mlflow.tracing.disable()
    yield
    mlflow.tracing.enable()


@pytest.fixture
def cautious(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")


@pytest.fixture(scope="module")
def decoder(tiny_onnx: Path) -> Decoder:
    graph = read_graph(tiny_onnx, json.loads((tiny_onnx / "genai_config.json").read_text()))
    assert graph
    return Decoder(graph, tiny_onnx, VOCABULARY, ROOM, 1)


@pytest.fixture
def empty(decoder: Decoder) -> Iterator[Decoder]:
    """Without any sequence before and after."""
    yield decoder
    if decoder._alive():
        gc.collect()  # what a failure has held on to
    assert decoder._alive() == []
