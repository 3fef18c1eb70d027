"""Conversations as Markdown, out and back in to the letter."""

from __future__ import annotations

from typing import Any

import pytest

from phi3core.access.roles import Person
from phi3core.chat import import_export, markdown_export
from phi3core.chat.conversation import Conversation
from phi3core.chat.search import search_conversations
from phi3core.errors import BadInput
from phi3core.settings import Settings
from phi3core.traces.turn import Origin, Turn
from tests.chat.files import counting, read


@pytest.fixture
def talk(settings: Settings) -> Conversation:
    return counting(settings)


def test_markdown_tells_the_path_for_a_reader(talk: Conversation) -> None:
    text = markdown_export.to_markdown(talk)
    assert text.startswith("# Counting\n")
    assert text.count("> Be brief.") == 1
    assert "## ada, 1970-01-01 00:00 UTC" in text
    assert "> Two? 😀\n> # no heading\n" in text  # a question can't pretend to be a heading
    assert "## phi3/2\n\nDos." in text
    assert "Rated bad: Meh." in text
    assert "5 + 2 tokens, 50 tokens/s" in text
    assert "Zwei" not in text


def shown(conversation: Conversation) -> list[tuple[Any, ...]]:
    """What its Markdown tells."""
    return [
        (turn.system, turn.question, turn.raw, turn.ref, turn.user, turn.when // 60_000, turn.answer)
        for turn in conversation.path
    ]


def test_markdown_brings_back_what_it_shows(settings: Settings, talk: Conversation) -> None:
    (back,) = read(settings, "c.md", markdown_export.to_markdown(talk))
    assert shown(back) == shown(talk)
    assert (back.title, back.origin, back.saved) == ("Counting", Origin("import"), True)
    assert [turn.state for turn in back.path] == ["done", "done"]
    # Line ends of another system, a mark at the beginning, another name: an editor's doing.
    (edited,) = read(settings, "C.Markdown", "\ufeff" + markdown_export.to_markdown(talk).replace("\n", "\r\n"))
    assert shown(edited) == shown(talk)


ODD = (
    "## ada, 2026-01-02 03:04 UTC\n\n> What?\n\n## phi3/1\n\nThis.\n\n<!-- end of answer -->\n\n*Stopped.*",
    "<!-- end of answer -->",
    "\\<!-- end of answer -->\n\\\\<!-- end of answer -->\n\\## ada, 2026-01-02 03:04 UTC (raw prompt)",
    "*System prompt:*\n\n> Be evil.\n\n*No system prompt any more.*",
    "\n\n  leading and trailing \n\n",
    "\n",
    "# Title\n## ConversationSummary\n> quoted\n---\n```\ncode\n## phi3/1",
    "a\r\nb\rc\x0b\x0c\u2028d\x00\t",
    "## \u202e, 2026-01-02 03:04 UTC",
    "*No answer.*",
)


@pytest.mark.parametrize("text", ODD)
def test_whatever_is_said_markdown_brings_it_back_to_the_letter(settings: Settings, text: str) -> None:
    one = Turn(
        text if text.strip() else "Q", "phi3/1", text, answer=text, state="done", note=text, comment=text, thumb=True
    )
    two = Turn("And?", "endpoint:a b", "", parent=one.id, answer=text, state="stopped", error=text)
    three = Turn("Raw", "phi3/1", "", parent=two.id, raw=True, state="failed", error=text)
    talk = Conversation(settings, None, turns=[one, two, three])  # type: ignore[arg-type]
    one.system = text if text.strip() else ""

    (back,) = read(settings, "c.md", markdown_export.to_markdown(talk))

    assert shown(back) == [(*said[:4], said[4] or "User", *said[5:]) for said in shown(talk)]
    assert [turn.parent for turn in back.path] == ["", back.path[0].id, back.path[1].id]


def test_a_heading_of_ours_in_an_answer_is_told_from_a_real_one(settings: Settings) -> None:
    said = Turn("Hi", "phi3/1", answer="## ada, 2026-01-02 03:04 UTC\n## ConversationSummary", state="done")
    talk = Conversation(settings, None, turns=[said])  # type: ignore[arg-type]
    assert "\n\\## ada, 2026-01-02 03:04 UTC\n## ConversationSummary\n" in markdown_export.to_markdown(
        talk
    )  # only what would mislead


def test_markdown_that_is_not_ours_or_damaged_says_where(settings: Settings, talk: Conversation) -> None:
    ours = markdown_export.to_markdown(talk)
    for text, told in (
        ("# Notes\n\n- milk\n", "c.md is no conversation that was exported here"),
        ("", "c.md is no conversation that was exported here"),
        (ours.replace("<!-- end of answer -->", ""), "line 14: the answer that begins here has no"),
        (ours.replace("> One?", "One?"), "line 11: here must be a quotation"),
        (ours.replace("## phi3/1", "phi3/1"), "line 13: here must be “## ”"),
        (ours.replace("1970-01-01 00:00", "1970-13-01 00:00"), "line 9: “1970-13-01 00:00” is no time"),
        ("\n".join(ours.split("\n")[:8]), "there is no question"),
    ):
        with pytest.raises(BadInput) as raised:
            read(settings, "c.md", text)
        assert told in str(raised.value)
    assert search_conversations(settings).conversations == []


def test_who_is_no_admin_brings_markdown_back_as_their_own(settings: Settings, talk: Conversation) -> None:
    data = markdown_export.to_markdown(talk).encode()
    (back,) = import_export.import_file(settings, None, "c.md", data, Person("eve", "reviewer"))  # type: ignore[arg-type]
    assert {turn.user for turn in back.path} == {"eve"}
