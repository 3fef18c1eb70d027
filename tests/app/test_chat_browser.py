"""Chat: what the browser is told to do besides drawing."""

from __future__ import annotations

import json
import re
from typing import Any

from streamlit.testing.v1 import AppTest

from pages.components.chat import browser
from tests.app.chatting import ask, live, settled
from tests.app.conftest import HeldAnswer, Open, Register
from tests.support import fakes

HOSTILE = '</script><img src=x onerror="alert(1)"> `\\u0000` ${1}\n**x**'


def told(at: AppTest, part: str) -> list[dict[str, Any]]:
    """The data of the browser's parts that have this."""
    data = [json.loads(found.proto.json) for found in at.get("bidi_component")]
    return [one for one in data if part in one]


def test_an_answer_is_copied_as_it_was_written_and_its_text_is_data_only(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    engine.words = (HOSTILE,)
    register()
    at = ask(open_page("chat"), "Hello")
    assert [one["copy"]["text"] for one in told(at, "copy")] == [HOSTILE]
    # The script is fixed, and makes no elements of what it is given.
    assert not any(
        maker in browser._SCRIPT for maker in ("innerHTML", "outerHTML", "insertAdjacent", "eval(", "Function(")
    )


def test_editing_brings_the_questions_own_box_into_view_each_time(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(ask(open_page("chat"), "One"), "Two")
    one, two = live(at).path
    at.button(key=f"turn_edit_open_{one.id}").click().run()
    (first,) = told(at, "show")
    assert first["show"] == {"selector": f".st-key-turn_edit_{one.id}", "focus": True, "block": "center"}
    at.button(key="turn_edit_cancel").click().run()
    assert not told(at, "show")
    at.button(key=f"turn_edit_open_{one.id}").click().run()
    assert told(at, "show")[0]["once"] != first["once"]
    assert two.question == "Two"


def test_a_raw_prompts_answer_comes_into_view_once(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(open_page("chat"), "Hello")
    assert not told(at, "show")
    live(at).path[-1].raw = True
    (shown,) = told(at.run(), "show")
    assert shown["show"]["selector"] == ".st-key-chat_raw_turn"
    assert not shown["show"]["focus"]
    assert told(at.run(), "show") == [shown]


def test_escape_stops_an_answer(open_page: Open, held: HeldAnswer) -> None:
    stop = open_page("chat", c=held.talk.id).button(key="chat_stop")
    assert stop.proto.shortcut == "escape"
    held.talk.stop()


def test_every_button_that_shows_an_icon_alone_has_a_spoken_name(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = ask(ask(open_page("chat"), "One"), "Two")
    settled(at.button(key="chat_again").click().run())
    at.feedback(key=f"turn_thumb_{live(at).path[0].id}").set_value(1).run()
    (given,) = told(at, "names")
    keys = [str(button.key) for kind in (at.button, at.menu_button) for button in kind if not words(button.label)]
    keys += [str(found.proto.popover.id) for found in at.get("popover") if not words(found.proto.popover.label)]
    assert len(keys) > 8
    assert [key for key in keys if not any(start in key for start in given["names"])] == []


def words(label: str) -> str:
    return re.sub(r":material/\w+:|\W", "", label)
