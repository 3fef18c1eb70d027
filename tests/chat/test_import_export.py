"""Conversations as files, out and back in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from phi3core.access.roles import Person
from phi3core.chat import history, import_export, live_conversations, markdown_export
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import load_conversation
from phi3core.chat.search import search_conversations
from phi3core.cli.main import main
from phi3core.engine.interface import Token
from phi3core.errors import BadInput
from phi3core.settings import Settings
from phi3core.traces.turn import Origin, Turn


@pytest.fixture
def talk(settings: Settings) -> Conversation:
    """Two turns, with an alternative to the second, and a failed one; the first alternative is selected."""
    one = Turn("One?", "phi3/1", "Be brief.", {"temperature": 0.5}, answer="Uno.", state="done", when=1_000, user="ada")
    two = Turn(
        "Two? 😀\n# no heading", "phi3/2", "Be brief.", parent=one.id, answer="Dos.", state="done", when=2_000,
        user="ada", seed=7, thumb=False, comment="Meh.", rated_by="bob", tokens=[Token("Dos", -0.5, (("Dos", -0.5),))],
        prompt_tokens=5, completion_tokens=2, tokens_per_second=50.0, schema={"type": "object"},
        asked_ref="phi3/Production",
    )  # fmt: skip
    beside = Turn("Zwei?", "phi3/2", parent=one.id, state="failed", error="It died.", when=3_000, user="ada")
    conversation = Conversation(settings, None, turns=[one, two, beside])  # type: ignore[arg-type]
    conversation.set_title("Counting")
    conversation.select(two)
    return conversation


def read(settings: Settings, name: str, text: str | bytes) -> list[Conversation]:
    data = text.encode() if isinstance(text, str) else text
    return import_export.import_file(settings, None, name, data, Person("ada", "admin"))  # type: ignore[arg-type]


def without_ids(turns: list[Turn]) -> list[dict[str, Any]]:
    return [turn.plain() | {"id": "", "parent": ""} for turn in turns]


def test_json_brings_the_whole_tree_back_as_a_saved_conversation(settings: Settings, talk: Conversation) -> None:
    (back,) = read(settings, "c.json", import_export.to_json(talk))
    assert back.id != talk.id
    assert not set(back.tree) & set(talk.tree)
    assert without_ids([*back.tree.values()]) == without_ids([*talk.tree.values()])
    assert [turn.question for turn in back.path] == ["One?", "Two? 😀\n# no heading"]  # what was selected
    assert len(back.siblings(back.path[1])) == 2
    assert (back.title, back.origin) == ("Counting", Origin("import", talk.id))

    assert history.flush(settings), history.sending_error(settings)
    live_conversations._live.clear()
    found = load_conversation(settings, None, back.id)  # type: ignore[arg-type]
    assert [*found.tree.values()] == [*back.tree.values()]
    assert (found.title, found.origin) == ("Counting", back.origin)


def test_a_second_export_says_the_same(settings: Settings, talk: Conversation) -> None:
    (back,) = read(settings, "c.json", import_export.to_json(talk))
    first, second = json.loads(import_export.to_json(talk)), json.loads(import_export.to_json(back))
    for document in (first, second):
        ids = {turn["id"]: number for number, turn in enumerate(document["turns"])}
        document["selected"] = ids[document["selected"]]
        for turn in document["turns"]:
            turn["id"], turn["parent"] = ids[turn["id"]], ids.get(turn["parent"])
        del document["id"], document["origin"]
    assert first == second


def test_jsonl_is_a_line_of_openai_messages_for_each_conversation(settings: Settings, talk: Conversation) -> None:
    other = Conversation(settings, None, turns=[Turn("Hi\nyou", "phi3/1", answer="Ho", state="done")])  # type: ignore[arg-type]
    nothing = Conversation(settings, None, turns=[Turn("Hi", "phi3/1", state="failed")])  # type: ignore[arg-type]
    text = import_export.to_jsonl([talk, other, nothing])
    assert [json.loads(line) for line in text.splitlines()] == [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "One?"},
                {"role": "assistant", "content": "Uno."},
                {"role": "user", "content": "Two? 😀\n# no heading"},
                {"role": "assistant", "content": "Dos."},
            ]
        },
        {"messages": [{"role": "user", "content": "Hi\nyou"}, {"role": "assistant", "content": "Ho"}]},
    ]
    back = read(settings, "train.jsonl", text)
    assert import_export.to_jsonl(back) == text
    assert [turn.system for turn in back[0].path] == ["Be brief."] * 2
    assert history.flush(settings)
    assert len(search_conversations(settings).conversations) == 2


def test_messages_without_a_line_break_and_with_parts_and_an_open_question_are_read(settings: Settings) -> None:
    document = {
        "messages": [
            {"role": "developer", "content": "Terse."},
            {"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
            {"role": "assistant", "content": "C", "weight": 1},
            {"role": "user", "content": "Open?"},
        ]
    }
    (back,) = read(settings, "one.json", "\ufeff" + json.dumps(document, indent=2))
    assert [(turn.question, turn.answer, turn.state) for turn in back.path] == [
        ("AB", "C", "done"),
        ("Open?", "", "stopped"),
    ]
    assert {turn.ref for turn in back.path} == {"imported"}


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


def test_an_empty_conversation_can_be_exported(settings: Settings) -> None:
    empty = Conversation(settings, None)  # type: ignore[arg-type]
    assert markdown_export.to_markdown(empty).startswith("# Conversation\n")
    assert json.loads(import_export.to_json(empty))["turns"] == []
    assert import_export.to_jsonl([empty]) == ""


GOOD = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}'


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.jsonl", "", "a.jsonl, line 1: the file is empty"),
        ("a.jsonl", f"{GOOD}\n\n{{half", "a.jsonl, line 3: this is no JSON"),
        ("a.jsonl", f"{GOOD}\n[1]", "line 2: this is no object with “messages”"),
        ("a.jsonl", f'{GOOD}\n{{"messages": []}}', "line 2: there is no list of “messages”"),
        ("a.jsonl", f'{GOOD}\n{{"messages": ["x"]}}', "line 2, message 1: this is no object"),
        ("a.jsonl", '{"messages": [{"role": "tool", "content": "x"}]}', "message 1: the role is “tool”"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": null}]}', "message 1: its content must be text"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": "  "}]}', "message 1: its content must be text"),
        ("a.jsonl", '{"messages": [{"role": "assistant", "content": "x"}]}', "an answer without a question"),
        ("a.jsonl", '{"messages": [{"role": "system", "content": "x"}]}', "no message of the user"),
        ("a.jsonl", '{"messages": NaN}', "line 1: this is no JSON"),
        ("a.json", "{\n\n  half", "a.json, line 3: this is no JSON"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", "[1, 2]", "line 1: this is no conversation"),
        ("a.json", '{"a": 1}', "line 1: this holds neither"),
        ("a.txt", f"{GOOD}\n{{half", "a.txt, line 2: this is no JSON"),
        ("a.jsonl", GOOD.encode() + b"\n\xff\xfe", "line 2: this is no UTF-8 text"),
    ],
)
def test_a_bad_file_is_told_with_its_line_and_nothing_of_it_is_kept(
    settings: Settings, name: str, text: str | bytes, told: str
) -> None:
    with pytest.raises(BadInput, match=r".") as raised:
        read(settings, name, text)
    assert told in str(raised.value)
    assert search_conversations(settings).conversations == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answer": 3}, "turn 2: “answer” must be text"),
        ({"when": "now"}, "turn 2: “when” must be a whole number"),
        ({"when": -5}, "turn 2: its time is out of range"),
        ({"when": 10**15}, "turn 2: its time is out of range"),
        ({"took_ms": 10**300}, "turn 2: “took_ms” must be a number"),
        ({"prompt_tokens": True}, "turn 2: “prompt_tokens” must be a whole number"),
        ({"thumb": "yes"}, "turn 2: “thumb” must be true or false"),
        ({"options": []}, "turn 2: “options” must be an object"),
        ({"tokens": {}}, "turn 2: “tokens” must be a list"),
        ({"tokens": [{"text": "x"}]}, "turn 2: its tokens are damaged"),
        ({"tokens": ["x"]}, "turn 2: its tokens are damaged"),
        ({"sent": {}}, "turn 2: “sent” must be a list"),
        ({"sent": [{"role": "user", "content": 3}]}, "turn 2: “sent” must be a list of messages"),
        ({"sent": [{"role": "user"}]}, "turn 2: “sent” must be a list of messages"),
        ({"state": "running"}, "turn 2: the state must be"),
        ({"state": "odd"}, "turn 2: the state must be"),
        ({"parent": "f" * 32}, "turn 2: the turn that it follows does not come before it"),
        ({"question": None}, "turn 2: this is no turn"),
    ],
)
def test_a_damaged_conversation_is_told_with_its_turn(
    settings: Settings, talk: Conversation, change: dict[str, Any], told: str
) -> None:
    document = json.loads(import_export.to_json(talk))
    document["turns"][1] |= change
    with pytest.raises(BadInput, match=r".") as raised:
        read(settings, "c.json", json.dumps(document))
    assert told in str(raised.value)
    assert search_conversations(settings).conversations == []


def test_turns_in_a_circle_and_twice_the_same_are_refused(settings: Settings, talk: Conversation) -> None:
    document = json.loads(import_export.to_json(talk))
    document["turns"][0]["parent"] = document["turns"][1]["id"]
    with pytest.raises(BadInput, match="turn 1: the turn that it follows"):
        read(settings, "c.json", json.dumps(document))
    document = json.loads(import_export.to_json(talk))
    document["turns"].append(document["turns"][0])
    with pytest.raises(BadInput, match="turn 4: its id is that of an earlier turn"):
        read(settings, "c.json", json.dumps(document))


def test_a_newer_format_and_an_overlong_file_are_refused(
    settings: Settings, talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = import_export.to_json(talk).replace('"version": 1', '"version": 2')
    with pytest.raises(BadInput, match="newer playground"):
        read(settings, "c.json", newer)
    monkeypatch.setattr(import_export, "LARGEST", 10)
    with pytest.raises(BadInput, match="split it"):
        read(settings, "c.json", newer)


def test_hostile_text_goes_out_and_comes_back(settings: Settings) -> None:
    text = "\x00\x1b[31m \u2028 </script> \ud800 `````` " + "x" * 100_000
    turn = Turn(text, "phi3/1", text, answer=text, state="done", comment=text)
    talk = Conversation(settings, None, turns=[turn])  # type: ignore[arg-type]
    cleaned = text.replace("\ud800", "\ufffd")
    (back,) = read(settings, "c.json", import_export.to_json(talk))
    assert (back.path[0].question, back.path[0].answer) == (cleaned, cleaned)
    (back,) = read(settings, "c.jsonl", import_export.to_jsonl([talk]))
    assert (back.path[0].question, back.path[0].answer) == (cleaned, cleaned)
    assert markdown_export.to_markdown(talk).encode()  # what can't be encoded could not be downloaded
    (escaped,) = read(settings, "c.jsonl", '{"messages": [{"role": "user", "content": "a\\ud800b"}]}')
    assert escaped.path[0].question == "a\ufffdb"
    assert history.flush(settings), history.sending_error(settings)


# ---------------------------------------------------------------- from a terminal


@pytest.mark.parametrize("ending", ["md", "json", "jsonl"])
def test_the_command_line_takes_a_conversation_out_and_brings_it_back(
    settings: Settings, talk: Conversation, tmp_path: Path, ending: str
) -> None:
    (kept,) = read(settings, "c.json", import_export.to_json(talk))
    assert history.flush(settings)
    file = tmp_path / f"talk.{ending}"

    out = CliRunner().invoke(main, ["export", kept.id, "--output", str(file)])
    back = CliRunner().invoke(main, ["import", str(file)])

    assert (out.exit_code, back.exit_code) == (0, 0), out.output + back.output
    id, title = back.stdout.strip().split("  ")
    found = load_conversation(settings, None, id)  # type: ignore[arg-type]
    assert [turn.answer for turn in found.path] == ["Uno.", "Dos."]
    assert title == found.title == ("One?" if ending == "jsonl" else "Counting")


def test_the_command_line_names_what_it_can_not_export_or_import(settings: Settings, tmp_path: Path) -> None:
    for args, told in (
        (["export", "0" * 32, "--output", str(tmp_path / "a.md")], "not in the store"),
        (["export", "nobody", "--output", str(tmp_path / "a.pdf")], "end its name with .md, .json, .jsonl"),
        (["import", str(tmp_path / "gone.md")], "can't be read"),
    ):
        done = CliRunner().invoke(main, args)
        assert done.exit_code == 1
        assert told in done.stderr
