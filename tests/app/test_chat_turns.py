"""Chat: turns are asked again, edited, branched and rated."""

from __future__ import annotations

import time

import pytest

from pages.components.chat import turns
from phi3core.settings import Settings
from tests.app.chatting import WORDS, answers, ask, live, put_into_box, settled
from tests.app.conftest import HeldAnswer, Open, Register, said
from tests.app.servers import FakePool, HeldEngine
from tests.support import fakes


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
    assert at.session_state[f"turn_why_{turn.id}"] is False  # its box is closed
    at.run()
    assert r"\*Too\* short \!\[x\]\(y\)" in said(at)  # every letter as it was written
    assert "\n\\# and wrong" in said(at)
    assert at.feedback(key=f"turn_thumb_{turn.id}").value == 0
    at.feedback(key=f"turn_thumb_{turn.id}").set_value(None).run()
    assert turn.thumb is None


def test_a_message_sent_while_an_answer_comes_waits_in_its_box(open_page: Open, held: HeldAnswer) -> None:
    at = open_page("chat", c=held.talk.id)
    assert answers(at) == ["Hello", "The capital"]
    at.chat_input(key="chat_input").set_value("Too early").run()
    assert put_into_box(at) == "Too early"
    assert len(held.talk.path) == 1
    at.button(key="chat_stop").click().run()
    settled(at)
    assert held.turn.state == "stopped"
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
