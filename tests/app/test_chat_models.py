"""Chat: the model server's state, models of every kind, endpoints, and the ways to ask."""

from __future__ import annotations

import json
import threading
import time
import types
from dataclasses import replace

import pytest

from pages.components.chat import token_view
from pages.components.shared import ui
from phi3core.chat import conversation
from phi3core.engine.interface import Token
from phi3core.serving.handle import Status
from phi3core.settings import Settings
from tests.app.chatting import WORDS, answers, ask, chat_version, live, put_into_box, settled
from tests.app.conftest import Open, Register, said
from tests.app.servers import FakePool, FakeServer, TableEngine, TellingEngine
from tests.support import fakes


@pytest.fixture
def engine(servers: FakePool) -> fakes.FakeEngine:
    engine = fakes.FakeEngine(WORDS)
    servers.engines = lambda ref: engine
    return engine


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
    assert sentence in said(open_page("chat"))


def test_a_failed_model_server_says_its_last_words_and_is_opened_again(
    open_page: Open, register: Register, settings: Settings, servers: FakePool
) -> None:
    register()
    server = servers.open(chat_version(settings))
    server.state = Status("failed", 3.0, "Its process ended (exit status 3). Its last words: out of ![x](y) memory")
    at = open_page("chat")
    assert "exit status 3" in at.error[0].value
    assert "![" not in at.error[0].value
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
    assert sentence in at.error[0].value


def test_asking_a_model_of_an_unknown_kind_finds_out_that_it_cannot_be_chatted_with(
    open_page: Open, table: TableEngine
) -> None:
    at = open_page("chat")
    assert at.segmented_control == [] or at.chat_input  # nothing but a message is offered
    ask(at, "Hello")
    assert "holds no conversations" in at.error[0].value
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


# ---------------------------------------------------------------- endpoints


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
        conversation, "count_context", lambda server, messages: measured.append(server.ref) or (None, None)
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
    assert "no endpoint “nowhere”" in at.warning[0].value
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
    assert "secrets.toml" in at.warning[0].value
    assert answers(ask(at, "Hello")) == ["Hello", "The capital is Madrid."]


# ---------------------------------------------------------------- raw prompts, JSON, probabilities


def test_the_two_ways_to_the_saved_prompts_have_names_of_their_own(open_page: Open, register: Register) -> None:
    register()
    at = open_page("chat")
    labels = {at.button(key=f"prompts_open_{key}").label for key in ("chat_system", "chat_insert")}
    assert labels == {"Saved system prompts", "Prompts"}


def test_a_raw_prompt_is_sent_as_it_is_and_counted(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "Hello")
    at.segmented_control(key="chat_mode").set_value("Raw prompt").run()
    assert not at.chat_input
    at.button(key="chat_raw_template").click().run()
    assert at.text_area(key="chat_raw").value == "<user>Hello"
    at.text_area(key="chat_raw").set_value("<user>Bye<assistant>Well,").run()
    assert "25 tokens" in said(at)
    settled(at.button(key="chat_raw_send").click().run())
    assert engine.prompts[-1] == "<user>Bye<assistant>Well,"
    assert live(at).path[-1].raw
    assert "<user>Bye<assistant>Well," in [code.value for code in at.chat_message[2].code]


@pytest.mark.parametrize("answer", ['[{"label": "good", "score": 0.9}]', "[see below]", "{not json}", "7"])
def test_an_answer_that_is_data_is_shown_as_code_and_other_text_as_text(
    open_page: Open, register: Register, engine: fakes.FakeEngine, answer: str
) -> None:
    engine.words = (answer,)
    register()
    at = ask(open_page("chat"), "How is it?")
    codes = [code.value for code in at.chat_message[1].code]
    if "label" in answer:
        assert json.loads(codes[0]) == json.loads(answer)
    else:
        assert codes == []


def test_an_answer_in_json_follows_the_schema_and_is_shown_as_code(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    engine.words = ('{"city":', '"Madrid"}')
    register()
    at = open_page("chat")
    at.segmented_control(key="chat_mode").set_value("JSON").run()
    at.button(key="chat_schema_example").click().run()
    assert "2 properties" in said(at)
    ask(at, "Where?")
    assert json.loads(engine.asked[-1].json_schema or "")["required"] == ["city", "population"]
    assert at.chat_message[1].code[0].value == '{\n  "city": "Madrid"\n}'


def test_a_schema_that_is_none_is_told_and_the_message_stays(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat")
    at.segmented_control(key="chat_mode").set_value("JSON").run()
    at.text_area(key="chat_schema").set_value("{").run()
    assert "no JSON" in at.error[0].value
    at.chat_input(key="chat_input").set_value("Where?").run()
    assert not engine.prompts
    at.run()
    assert put_into_box(at) == "Where?"


def test_token_probabilities_are_asked_for_and_shown_when_they_are_wanted(
    open_page: Open, register: Register, servers: FakePool
) -> None:
    engine = TellingEngine(WORDS)
    servers.engines = lambda ref: engine
    register()
    at = open_page("chat")
    at.toggle(key="chat_logprobs_phi3/1").set_value(True)
    ask(at, "Hello")
    turn = live(at).path[0]
    assert engine.asked[-1].logprobs == 5
    assert [token.text for token in turn.tokens] == list(WORDS)
    assert "perplexity" not in said(at)
    at.button(key=f"turn_probabilities_{turn.id}").click().run()
    assert not at.exception
    assert "mean probability 75% · perplexity 1.33" in said(at)
    assert "Green: sure" in said(at)
    hover = json.loads(at.get("plotly_chart")[0].proto.spec)["data"][0]["customdata"]
    assert hover[0] == "<b>The</b> 75.0%<br>&lt;b&gt;other&lt;/b&gt; 20.0%"  # Plotly reads HTML: it is written out


def test_tokens_are_laid_out_in_rows_and_a_line_break_ends_one() -> None:
    tokens = [Token(text, -0.1) for text in ("abc", "d\n", "e" * 99, "f")]
    assert token_view.places(tokens, width=10) == [(0, 0, 4), (0, 4, 3), (1, 0, 10), (2, 0, 2)]


def test_an_impossible_token_makes_the_perplexity_large_and_not_infinite() -> None:
    probability, perplexity = token_view.mean([Token("a", -9999.0)])
    assert 0 < probability < 1e-8
    assert 1e8 < perplexity < 1e10
