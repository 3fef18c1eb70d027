"""Chat: endpoints elsewhere."""

from __future__ import annotations

import types
from dataclasses import replace

import pytest

from pages.components.shared import ui
from phi3core.chat import context_window
from phi3core.settings import Settings
from tests.app.chatting import WORDS, answers, ask
from tests.app.conftest import Open, Register
from tests.app.servers import FakePool, FakeServer
from tests.app.talks import shown
from tests.support import fakes


@pytest.fixture
def endpoint(settings: Settings, servers: FakePool, monkeypatch: pytest.MonkeyPatch) -> fakes.FakeEngine:
    """An OpenAI endpoint named “far” in the secrets file, which the page finds."""
    engine = fakes.FakeEngine(WORDS)
    version = types.SimpleNamespace(ref="far-model", source="", version=1)
    server = FakeServer(version, engine)  # type: ignore[arg-type]
    servers.made["far"] = server
    fakes.until(lambda: server.status().state == "ready")
    write_secrets(
        settings,
        f'[endpoints.far]\nkind = "openai"\nurl = "{server.url}/v1"\nmodel = "far-model"\nkey = "{server.key}"\n',
        monkeypatch,
    )
    return engine


def write_secrets(settings: Settings, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = settings.home / "secrets.toml"
    file.write_text(text)
    file.chmod(0o600)
    monkeypatch.setattr(ui, "config", lambda: replace(settings, secrets=file))


def test_an_endpoint_is_talked_to_without_any_registered_version(
    open_page: Open, endpoint: fakes.FakeEngine, servers: FakePool
) -> None:
    at = open_page("chat")
    assert not at.exception
    assert at.selectbox(key="chat_model").options == ["☁ far"]
    ask(at, "What is the capital of Spain?")
    assert answers(at) == ["What is the capital of Spain?", "The capital is Madrid."]
    assert servers.opened == []
    assert endpoint.asked[-1].temperature == endpoint.options.temperature  # its own defaults are left to it
    assert at.query_params["ref"] == "endpoint:far"


def test_what_was_said_elsewhere_is_told_to_no_endpoint_before_it_is_asked(
    open_page: Open, register: Register, endpoint: fakes.FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    measured: list[str] = []
    monkeypatch.setattr(
        context_window, "count_context", lambda server, messages: measured.append(server.ref) or (None, None)
    )
    at = ask(open_page("chat", ref="phi3/1"), "A secret")
    at.selectbox(key="chat_model").set_value("endpoint:far").run()
    at.run()
    assert "endpoint:far" not in measured
    ask(at, "Hello")
    fakes.until(lambda: "endpoint:far" in measured or at.run() is None)


def test_a_link_chooses_an_endpoint_and_one_that_is_not_there_gets_a_sentence(
    open_page: Open, register: Register, endpoint: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat", ref="endpoint:far")
    assert at.selectbox(key="chat_model").value == "endpoint:far"
    assert not at.warning
    at = open_page("chat", ref="endpoint:nowhere")
    assert "no endpoint “nowhere”" in shown(at.warning[0].value)
    assert at.selectbox(key="chat_model").value == "phi3"


def test_an_endpoint_that_is_written_wrong_is_told_and_versions_are_talked_to_all_the_same(
    open_page: Open,
    register: Register,
    settings: Settings,
    engine: fakes.FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register()
    write_secrets(settings, '[endpoints.far]\nkind = "openai"\n', monkeypatch)
    at = open_page("chat")
    assert "secrets.toml" in shown(at.warning[0].value)
    assert answers(ask(at, "Hello")) == ["Hello", "The capital is Madrid."]
