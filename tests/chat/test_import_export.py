"""Conversations as files, out and back in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from phi3core.chat import history, import_export, live_conversations, markdown_export
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import load_conversation
from phi3core.chat.search import search_conversations
from phi3core.cli.main import main
from phi3core.errors import BadInput
from phi3core.settings import Settings
from phi3core.traces.turn import Origin, Turn
from tests.chat.files import counting, read


@pytest.fixture
def talk(settings: Settings) -> Conversation:
    return counting(settings)


def without_ids(turns: list[Turn]) -> list[dict[str, Any]]:
    return [turn.plain() | {"id": "", "parent": "", "imported": False} for turn in turns]


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
            del turn["imported"]
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
