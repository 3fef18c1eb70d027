"""Chat: contexts that fill up, and long conversations."""

from __future__ import annotations

import time

from streamlit.testing.v1 import AppTest

from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import add_conversation
from phi3core.settings import Settings
from phi3core.traces import turn
from tests.app.chatting import answers, ask, live, settled
from tests.app.conftest import Open, Register, said
from tests.app.servers import FakePool
from tests.support import fakes

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
