"""Chat: how turns are shown, asked again, edited, branched and rated."""

from __future__ import annotations

import time

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.chat import turns
from pages.components.chat.line_breaks import with_line_breaks
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import add_conversation
from phi3core.settings import Settings
from phi3core.traces import turn
from tests.app.chatting import WORDS, answers, ask, chat_version, live, put_into_box, settled
from tests.app.conftest import Open, Register, said
from tests.app.servers import FakePool, HeldEngine
from tests.support import fakes


@pytest.fixture
def engine(servers: FakePool) -> fakes.FakeEngine:
    engine = fakes.FakeEngine(WORDS)
    servers.engines = lambda ref: engine
    return engine


# ---------------------------------------------------------------- an answer


def test_an_answer_is_shown_with_its_figures_and_the_prompt_the_model_read(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat")
    engine.pause = 0.01
    ask(at, "What is the capital of Spain?")
    assert not at.exception
    assert answers(at) == ["What is the capital of Spain?", "The capital is Madrid."]
    figures = at.chat_message[1].caption[0].value
    assert figures.startswith("phi3/1 · ")
    assert "tokens/s" in figures
    assert "first token" in figures
    assert f"{len('<user>What is the capital of Spain?')} + 5 tokens" in figures
    at.session_state[f"turn_sent_{live(at).path[0].id}"] = True
    assert "<user>What is the capital of Spain?" in [code.value for code in at.run().code]
    assert engine.asked[-1].temperature == 0.4  # the version's own, not the app's
    assert engine.asked[-1].max_tokens == 50
    assert not at.chat_input(key="chat_input").disabled


def test_the_sidebar_reaches_the_engine(open_page: Open, register: Register, engine: fakes.FakeEngine) -> None:
    register()
    at = open_page("chat")
    at.text_area(key="chat_system").set_value("Be brief.")
    at.slider(key="chat_temperature_phi3/1").set_value(0.9)
    at.slider(key="chat_top_p_phi3/1").set_value(0.5)
    at.number_input(key="chat_max_tokens_phi3/1").set_value(3)
    at.slider(key="chat_repetition_penalty_phi3/1").set_value(1.3)
    at.number_input(key="chat_seed_phi3/1").set_value(7)
    at.session_state["chat_stop_phi3/1"] = ["END", "a, b"]
    ask(at, "Hello")
    asked = engine.asked[-1]
    assert (asked.temperature, asked.top_p, asked.max_tokens, asked.seed) == (0.9, 0.5, 3, 7)
    assert asked.repetition_penalty == pytest.approx(1.3)
    assert asked.stop == ("END", "a, b")
    assert engine.prompts[-1] == "<system>Be brief.<user>Hello"
    assert "Cut off at the longest answer" in said(at)


def test_an_empty_message_is_refused_with_a_sentence(open_page: Open, register: Register, servers: FakePool) -> None:
    register()
    at = open_page("chat").chat_input(key="chat_input").set_value("   ").run()
    assert not at.exception
    assert "The message is empty" in at.error[0].value
    assert servers.opened == []


def test_images_in_answers_are_shown_as_links(open_page: Open, register: Register, engine: fakes.FakeEngine) -> None:
    engine.words = ("Look: ", "![cat]", "(http://evil.example/?q=secret)")
    register()
    answer = answers(ask(open_page("chat"), "Hello"))[1]
    assert "![" not in answer
    assert "image: cat" in answer


def test_the_lines_of_a_poem_stay_apart_and_the_answer_is_kept_as_it_came(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    engine.words = ("Roses are red,\n", "violets are blue.")
    register()
    at = ask(open_page("chat"), "A poem")
    assert answers(at)[1] == "Roses are red,  \nviolets are blue."
    assert live(at).path[0].answer == "Roses are red,\nviolets are blue."


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a\nb\n\nc\nd", "a  \nb\n\nc  \nd"),
        ("- a\n  b\n- c\nd", "- a  \n  b\n- c  \nd"),
        ("> a\n> b", "> a  \n> b"),
        ("a  \nb\\\nc", "a  \nb\\\nc"),
        ("a\n```\nx = 1\ny = 2\n```\nb", "a\n```\nx = 1\ny = 2\n```\nb"),
        ("```\nx\n\ny\nz", "```\nx\n\ny\nz"),
        ("    x\n    y", "    x\n    y"),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |", "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"),
        ("# a\nb\n\nc\n---", "# a\nb\n\nc\n---"),
        ("", ""),
    ],
)
def test_only_the_lines_of_paragraphs_end_in_a_break(written: str, shown: str) -> None:
    assert with_line_breaks(written) == shown


def test_a_question_is_shown_as_it_was_written(open_page: Open, register: Register, engine: fakes.FakeEngine) -> None:
    register()
    written = "# Not a heading\n* two\n![x](http://evil.example/mine) <b>$x$</b> :smile:"
    at = ask(open_page("chat"), written)
    assert at.chat_message[0].text[0].value == written
    assert not at.chat_message[0].markdown


def test_control_characters_of_an_answer_do_nothing(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    engine.words = ("a\x00b", "\x1b[31m", "\u202ecba")
    register()
    assert answers(ask(open_page("chat"), "Hello"))[1] == "a\ufffdb\ufffd[31m\ufffdcba"


@pytest.mark.parametrize(
    "hostile", ["x" * 100_000, "![" * 10_000, "![a](" * 5_000, "![a](" + "x" * 9_000, "<b>" * 9_000]
)
def test_a_hostile_answer_is_shown_at_once_and_as_it_is(
    open_page: Open, register: Register, engine: fakes.FakeEngine, hostile: str
) -> None:
    engine.words = (hostile,)
    register()
    at = ask(open_page("chat"), "Hello")
    begun = time.monotonic()
    at.run()
    assert time.monotonic() - begun < 3
    assert answers(at)[1] == hostile
    assert not at.chat_message[1].markdown


def test_a_server_that_dies_is_told_and_try_again_answers(
    open_page: Open, register: Register, servers: FakePool, engine: fakes.FakeEngine
) -> None:
    servers.die_after, engine.pause = 2, 0.02
    register()
    at = ask(open_page("chat"), "What is the capital of Spain?")
    assert not at.exception
    assert answers(at) == ["What is the capital of Spain?", "The capital"]
    assert "died in mid-answer" in at.error[0].value
    again = at.button(key="chat_again")
    assert again.label == "Try again"
    settled(again.click().run())
    assert answers(at) == ["What is the capital of Spain?", "The capital is Madrid."]
    assert not at.error
    assert at.button(key="chat_again").label == "Regenerate"


def test_a_version_whose_model_cannot_be_loaded_says_why(
    open_page: Open, register: Register, servers: FakePool
) -> None:
    class Broken(fakes.FakeEngine):
        def prepare(self, messages: list[dict[str, str]]) -> str:
            raise RuntimeError("its files are damaged")

    servers.engines = lambda ref: Broken()
    register()
    at = ask(open_page("chat"), "Hello")
    assert not at.exception
    assert "its files are damaged" in at.error[0].value
    assert not at.chat_input(key="chat_input").disabled


# ---------------------------------------------------------------- asking again, editing, branching, rating


def test_regenerate_keeps_the_first_answer_beside_the_new_one(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "Hello")
    first = live(at).path[0]
    engine.words = ("Another",)
    settled(at.button(key="chat_again").click().run())
    assert answers(at) == ["Hello", "Another"]
    assert "2/2" in said(at)
    at.button(key=f"turn_-1_{live(at).path[0].id}").click().run()
    assert answers(at) == ["Hello", "The capital is Madrid."]
    assert live(at).path == [first]
    assert "1/2" in said(at)
    assert at.button(key=f"turn_-1_{first.id}").disabled


def test_an_earlier_message_is_edited_and_what_followed_stays_beside_it(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(ask(open_page("chat"), "One"), "Two")
    one = live(at).path[0]
    at.button(key=f"turn_edit_open_{one.id}").click().run()
    assert at.text_area(key=f"turn_edit_{one.id}").value == "One"
    at.text_area(key=f"turn_edit_{one.id}").set_value("Uno")
    settled(at.button(key="turn_edit_send").click().run())
    assert answers(at) == ["Uno", "The capital is Madrid."]
    assert engine.prompts[-1] == "<user>Uno"
    at.button(key=f"turn_-1_{live(at).path[0].id}").click().run()
    assert answers(at)[::2] == ["One", "Two"]


def test_an_edit_can_be_given_up(open_page: Open, register: Register, engine: fakes.FakeEngine) -> None:
    register()
    at = ask(open_page("chat"), "One")
    at.button(key=f"turn_edit_open_{live(at).path[0].id}").click().run()
    at.button(key="turn_edit_cancel").click().run()
    assert answers(at) == ["One", "The capital is Madrid."]
    assert len(engine.prompts) == 1


def test_a_branch_is_a_conversation_of_its_own(open_page: Open, register: Register, engine: fakes.FakeEngine) -> None:
    register()
    at = ask(ask(open_page("chat"), "One"), "Two")
    old = at.query_params["c"]
    at.button(key=f"turn_branch_{live(at).path[0].id}").click().run()
    assert not at.exception
    assert at.query_params["c"] != old
    assert answers(at) == ["One", "The capital is Madrid."]
    ask(at, "Three")
    assert engine.prompts[-1] == "<user>One<assistant>The capital is Madrid.<user>Three"
    assert answers(open_page("chat", c=old))[::2] == ["One", "Two"]


def test_a_thumb_and_its_comment_are_kept_and_shown(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "Hello")
    turn = live(at).path[0]
    at.feedback(key=f"turn_thumb_{turn.id}").set_value(0).run()
    assert turn.thumb is False
    at.text_area(key=f"turn_comment_text_{turn.id}").set_value("*Too* short ![x](y)\n# and wrong")
    at.button(key=f"turn_comment_save_{turn.id}").click().run()
    assert turn.comment == "*Too* short ![x](y)\n# and wrong"
    at.run()
    assert r"\*Too\* short \!\[x\]\(y\)" in said(at)  # every letter as it was written
    assert "\n\\# and wrong" in said(at)
    assert at.feedback(key=f"turn_thumb_{turn.id}").value == 0
    at.feedback(key=f"turn_thumb_{turn.id}").set_value(None).run()
    assert turn.thumb is None


def test_a_message_sent_while_an_answer_comes_waits_in_its_box(
    open_page: Open, register: Register, settings: Settings, servers: FakePool
) -> None:
    held = HeldEngine(WORDS, hold_at=2)
    servers.engines = lambda ref: held
    register()
    talk = add_conversation(Conversation(settings, servers))  # type: ignore[arg-type]
    turn = talk.ask(chat_version(settings), "Hello").turn
    fakes.until(lambda: turn.answer == "The capital")
    at = open_page("chat", c=talk.id)
    assert answers(at) == ["Hello", "The capital"]
    at.chat_input(key="chat_input").set_value("Too early").run()
    assert put_into_box(at) == "Too early"
    assert len(talk.path) == 1
    at.button(key="chat_stop").click().run()
    settled(at)
    assert turn.state == "stopped"
    assert at.button(key="chat_again").label == "Ask again"


def test_the_page_does_not_wait_for_an_answer_that_comes(
    open_page: Open, register: Register, settings: Settings, servers: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it drew before stays on the screen until its run has ended.
    monkeypatch.setattr(turns, "_SLICE", 20.0)
    held = HeldEngine(WORDS, hold_at=2)
    servers.engines = lambda ref: held
    register()
    at = open_page("chat")
    begun = time.monotonic()
    at.chat_input(key="chat_input").set_value("Hello").run()
    assert time.monotonic() - begun < 10
    assert at.button(key="chat_stop")
    held.go.set()
    assert answers(settled(at)) == ["Hello", "The capital is Madrid."]


# ---------------------------------------------------------------- a context that fills up


def test_how_full_the_context_is_stands_below_the_conversation(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "Hello")
    long = len("<user>Hello<assistant>The capital is Madrid.")
    fakes.until(lambda: f"{long} of 200 tokens" in bars(at.run()))


def test_a_raw_prompt_is_sent_alone_so_the_conversations_length_is_not_shown_beside_it(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "Hello")
    fakes.until(lambda: "tokens" in bars(at.run()))
    at.segmented_control(key="chat_mode").set_value("Raw prompt").run()
    assert bars(at) == ""
    at.segmented_control(key="chat_mode").set_value("JSON").run()
    assert "tokens" in bars(at)


def bars(at: AppTest) -> str:
    return " ".join(str(bar.proto.text) for bar in at.get("progress"))


def test_a_full_context_offers_to_forget_the_oldest_turns(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register(max_tokens=10)
    at = open_page("chat")
    for text in ("One" * 10, "Two" * 10, "Three" * 12):
        ask(at, text)
    assert live(at).path[-1].full
    fakes.until(lambda: at.run().button(key="turn_forget").label != "Forget the oldest turns and send again")
    assert at.button(key="turn_forget").label == "Forget the oldest turn and send again"
    settled(at.button(key="turn_forget").click().run())
    assert not at.error
    assert answers(at)[-1] == "The capital is Madrid."
    assert engine.prompts[-1].startswith("<user>TwoTwo")
    assert "without the oldest 1 turn" in said(at)
    assert len(live(at).path) == 3  # nothing is gone


def test_an_answer_that_the_context_cut_off_says_so_and_offers_to_make_room(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register(max_tokens=100)
    at = ask(ask(open_page("chat"), "One" * 10), "Two" * 10)
    live(at).path[-1].finish_reason, live(at).path[-1].completion_tokens = "length", 60
    fakes.until(lambda: at.run().button(key="turn_forget").label == "Forget the oldest turn and send again")
    assert "Cut off: the context is full" in said(at)
    assert "longest answer allowed" not in said(at)
    live(at).path[-1].completion_tokens = 100
    assert "longest answer allowed; raise it" in said(at.run())


def test_a_message_that_alone_is_too_long_can_be_edited(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "x" * 300)
    fakes.until(lambda: "The message alone does not fit" in said(at.run()))
    assert not [button for button in at.button if button.key == "turn_forget"]
    at.button(key="turn_shorten").click().run()
    at.text_area(key=f"turn_edit_{live(at).path[0].id}").set_value("Short")
    settled(at.button(key="turn_edit_send").click().run())
    assert answers(at) == ["Short", "The capital is Madrid."]


# ---------------------------------------------------------------- long conversations


def test_of_a_hundred_turns_the_newest_are_drawn_quickly_and_the_others_when_asked_for(
    open_page: Open, register: Register, settings: Settings, servers: FakePool
) -> None:
    register()
    turns: list[turn.Turn] = []
    for number in range(100):
        parent = turns[-1].id if turns else ""
        turns.append(turn.Turn(f"Question {number}", "phi3/1", parent=parent, answer="Answer", state="done"))
    talk = add_conversation(Conversation(settings, servers, turns=turns))  # type: ignore[arg-type]
    at = open_page("chat", c=talk.id)
    assert answers(at)[-2:] == ["Question 99", "Answer"]
    assert len(at.chat_message) == 60
    begun = time.monotonic()
    at.run()
    assert time.monotonic() - begun < 3
    at.button(key="chat_show_all").click().run()
    assert answers(at)[0] == "Question 0"
    assert len(at.chat_message) == 200
