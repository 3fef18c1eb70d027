"""Chat: the state of the model server, and models of every kind."""

from __future__ import annotations

import json
import threading
import time

import pytest

from phi3core.serving.handle import Status
from phi3core.settings import Settings
from tests.app.chatting import ask, chat_version, live
from tests.app.conftest import Open, Register, said
from tests.app.servers import FakePool, TableEngine
from tests.app.talks import shown
from tests.support import fakes

# ---------------------------------------------------------------- the model server


def test_an_open_version_is_ready_and_one_that_is_not_can_be_opened_before_the_first_question(
    open_page: Open, register: Register, servers: FakePool, engine: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat")
    assert "Not open yet" in said(at)
    assert servers.opened == []
    at.button(key="chat_open").click().run()
    assert servers.opened == ["phi3/1"]
    fakes.until(lambda: "Ready" in said(at.run()))
    assert "Not open yet" not in said(at)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (Status("starting", 1.0), "Starting · 1 s"),
        (Status("loading", 4.2, detail="2.3 of 7.2 GB"), "Loading 2.3 of 7.2 GB · 4 s"),
        (Status("busy", 9.0, detail="1 answer, 2 waiting"), "Busy · 1 answer, 2 waiting"),
    ],
)
def test_the_state_of_the_model_server_is_told(
    open_page: Open, register: Register, settings: Settings, servers: FakePool, status: Status, sentence: str
) -> None:
    register()
    servers.open(chat_version(settings)).state = status
    assert sentence in shown(said(open_page("chat")))


def test_a_failed_model_server_says_its_last_words_and_is_opened_again(
    open_page: Open, register: Register, settings: Settings, servers: FakePool
) -> None:
    register()
    server = servers.open(chat_version(settings))
    server.state = Status("failed", 3.0, "Its process ended (exit status 3). Its last words: out of ![x](y) memory")
    at = open_page("chat")
    assert "exit status 3" in shown(at.error[0].value)
    assert r"\!\[x\]" in at.error[0].value  # letters, and no image
    server.dead, server.state = True, None
    at.button(key="chat_open").click().run()
    fakes.until(lambda: "Ready" in said(at.run()))
    assert not at.error


def test_a_model_server_that_does_not_answer_does_not_hold_up_the_page(
    open_page: Open, register: Register, settings: Settings, servers: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    hung = threading.Event()
    monkeypatch.setattr(servers.open(chat_version(settings)), "status", lambda: hung.wait(20))
    at = open_page("chat")
    begun = time.monotonic()
    at.run()
    hung.set()
    assert time.monotonic() - begun < 3
    assert "Looking at the model server" in said(at)
    assert at.chat_input


# ---------------------------------------------------------------- models of other kinds


@pytest.fixture
def table(servers: FakePool, register: Register) -> TableEngine:
    """A registered version that takes a table."""
    engine = TableEngine()
    servers.engines = lambda ref: engine
    register(wrapper="")
    return engine


def test_a_model_that_cannot_be_chatted_with_gets_a_form_with_an_example(
    open_page: Open, servers: FakePool, settings: Settings, table: TableEngine
) -> None:
    servers.open(chat_version(settings))
    at = open_page("chat")
    fakes.until(lambda: "can't be chatted with" in said(at.run()))
    assert not at.exception
    assert not at.chat_input
    assert any('"rooms"' in code.value for code in at.code)  # its signature
    assert json.loads(at.text_area(key="chat_body_phi3/1").value) == {
        "dataframe_records": [{"rooms": 1, "city": "text"}]
    }
    at.button(key="chat_predict").click().run()
    fakes.until(lambda: any("12.5" in code.value for code in at.run().code))
    assert table.bodies == [{"dataframe_records": [{"rooms": 1, "city": "text"}]}]


@pytest.mark.parametrize(
    ("body", "sentence"), [("{", "no JSON"), ("[1]", "must be a JSON object"), ("{}", "must hold dataframe_records")]
)
def test_inputs_that_do_not_fit_get_a_sentence(
    open_page: Open, servers: FakePool, settings: Settings, table: TableEngine, body: str, sentence: str
) -> None:
    servers.open(chat_version(settings))
    at = open_page("chat")
    fakes.until(lambda: at.run().button and any(b.key == "chat_predict" for b in at.button))
    at.text_area(key="chat_body_phi3/1").set_value(body)
    at.button(key="chat_predict").click().run()
    fakes.until(lambda: at.run().error)
    assert sentence in shown(at.error[0].value)


def test_asking_a_model_of_an_unknown_kind_finds_out_that_it_cannot_be_chatted_with(
    open_page: Open, table: TableEngine
) -> None:
    at = open_page("chat")
    assert at.segmented_control == [] or at.chat_input  # nothing but a message is offered
    ask(at, "Hello")
    assert "holds no conversations" in shown(at.error[0].value)
    assert "can't be chatted with" in said(at)


def test_a_model_that_takes_one_prompt_says_so_and_what_was_not_sent(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    engine.chat = "prompt"
    engine.prepare = lambda messages: messages[-1]["content"]  # type: ignore[method-assign]
    register(wrapper="")
    at = ask(open_page("chat"), "One")
    assert "takes one prompt and knows no conversation" in said(at)
    ask(at, "Two")
    assert engine.prompts == ["One", "Two"]
    assert "what was said before was not sent" in said(at)


def test_only_the_options_that_a_model_takes_are_offered_and_sent(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    engine.supports = frozenset({"temperature", "max_tokens", "n"})
    register(wrapper="")
    at = ask(open_page("chat"), "Hello")
    assert not at.error
    assert [slider.label for slider in at.slider] == ["Temperature"]
    assert [number.label for number in at.number_input] == ["Longest answer, in tokens"]
    at.slider(key="chat_temperature_phi3/1").set_value(1.0)
    ask(at, "Again")
    assert not at.error
    assert live(at).path[-1].options == {"temperature": 1.0}  # its own defaults are not repeated to it


def test_reset_goes_back_to_the_models_own_defaults(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat")
    at.slider(key="chat_temperature_phi3/1").set_value(1.9).run()
    at.button(key="chat_reset").click().run()
    assert at.slider(key="chat_temperature_phi3/1").value == pytest.approx(0.4)


def test_options_stay_when_another_version_was_looked_at(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    at = open_page("chat", ref="phi3/2")
    at.slider(key="chat_temperature_phi3/2").set_value(1.9).run()
    at.selectbox(key="chat_ref").set_value("phi3/1").run()
    assert at.slider(key="chat_temperature_phi3/1").value == pytest.approx(0.4)
    at.selectbox(key="chat_ref").set_value("phi3/2").run()
    assert at.slider(key="chat_temperature_phi3/2").value == pytest.approx(1.9)
