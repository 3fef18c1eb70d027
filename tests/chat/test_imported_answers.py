"""What comes from a file is read, gone on from and rated, and is evidence of nothing; a file can't ask for too much."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from phi3core import tags
from phi3core.chat import history, import_checks, import_export
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import load_conversation
from phi3core.errors import BadInput
from phi3core.evaluation import ballot
from phi3core.evaluation.ballot import TIE
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.traces import evidence, feedback, use
from phi3core.traces.turn import Origin, Turn
from tests.chat.files import counting, read
from tests.support.judging import ADA, BOB
from tests.support.rounds import round_of
from tests.support.saved_turns import keep, traces_of


def rated_file(count: int = 3) -> str:
    """A file that says that people liked what phi3/1 answered."""
    turns = [
        Turn("Q", "phi3/1", answer="A", state="done", thumb=True, rated_by=f"person{at}", user="ada", when=at + 1)
        for at in range(count)
    ]
    listed = [turn.plain() | {"imported": False} for turn in turns]
    return json.dumps({"format": import_export.FORMAT, "version": import_export.VERSION, "turns": listed})


def imported(settings: Settings, text: str = "") -> Conversation:
    (made,) = read(settings, "c.json", text or rated_file())
    assert history.flush(settings, 60), history.sending_error(settings)
    return made


def test_imported_ratings_are_shown_and_count_for_nothing(settings: Settings, version: Version) -> None:
    back = imported(settings)
    assert [turn.thumb for turn in back.tree.values()] == [True] * 3
    found = feedback.read_reviews(settings, version)
    assert (found.given, found.reviewers, found.conversations) == (0, 0, 0)
    assert feedback.count_reviews(settings) == {}
    assert use.count_answers(settings) == {}


def test_rating_an_imported_answer_in_the_app_counts_for_nothing_either(settings: Settings, version: Version) -> None:
    back = imported(settings)
    back.rate(next(iter(back.tree.values())), True, "Right", ADA)
    assert history.flush(settings, 60)
    assert feedback.read_reviews(settings, version).given == 0


def test_a_branch_carries_the_mark_along(settings: Settings, version: Version) -> None:
    back = imported(settings)
    branched = back.branch(back.path[-1])
    branched.rate(branched.path[-1], True, "", ADA)
    assert history.flush(settings, 60)
    assert all(turn.imported for turn in load_conversation(settings, None, branched.id).tree.values())  # type: ignore[arg-type]
    assert feedback.read_reviews(settings, version).given == 0


def test_an_answer_that_the_version_gave_in_an_imported_conversation_counts(
    settings: Settings, version: Version
) -> None:
    given = Turn("Q", version.ref, answer="A", state="done", thumb=True, rated_by=ADA.name)
    keep(settings, given, origin=Origin("import"))
    assert feedback.read_reviews(settings, version).reviewers == 1


def test_what_was_imported_before_it_was_marked_is_no_evidence(settings: Settings) -> None:
    id = keep(settings, Turn("Q", "phi3/1", answer="A", state="done", imported=True), origin=Origin("import"))
    (info,) = [trace.info for trace in traces_of(settings, id)]
    assert not evidence.is_evidence(info)
    del info.tags[tags.IMPORTED]
    assert not evidence.is_evidence(info)


def test_nobody_votes_on_an_imported_answer(settings: Settings) -> None:
    old = Turn("Q", "phi3/1", answer="A", state="done", imported=True)
    new = Turn("Q", "phi3/2", answer="B", state="done", copy_of=old.id)
    assert round_of(replace(old, imported=False), new).pairs
    with pytest.raises(BadInput, match="given in this app"):
        ballot.cast(settings, round_of(old, new), TIE, BOB)


def test_a_person_is_one_reviewer_however_often_they_judge(settings: Settings, version: Version) -> None:
    for name in ("ada@example.org", "Ada@Example.org", "bob@example.org"):
        keep(settings, Turn("Q", version.ref, answer="A", state="done", thumb=True, rated_by=name))
    found = feedback.read_reviews(settings, version)
    assert (found.given, found.reviewers) == (3, 2)


# ---------------------------------------------------------------- what a file may say


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ref", "![x](http://evil.example/i.png)"),
        ("ref", "phi3/Production"),
        ("ref", "phi3@champion"),
        ("ref", "phi3"),
        ("ref", "endpoint:"),
        ("ref", "phi3/1\nphi3/2"),
        ("ref", "a" * 400 + "/1"),
        ("asked_ref", ":green-badge[Approved]"),
        ("model_id", "[x](http://evil.example)"),
    ],
)
def test_who_answered_must_be_the_name_of_one_that_can(settings: Settings, field: str, value: str) -> None:
    document = json.loads(import_export.to_json(counting(settings)))
    document["turns"][1][field] = value
    with pytest.raises(BadInput, match=r"c\.json, turn 2: “"):
        read(settings, "c.json", json.dumps(document))


def test_a_name_in_markdown_must_be_one_too(settings: Settings) -> None:
    from phi3core.chat.markdown_export import to_markdown

    text = to_markdown(counting(settings))
    assert read(settings, "c.md", text)
    with pytest.raises(BadInput, match="names no version that could have answered"):
        read(settings, "c.md", text.replace("## phi3/2", "## ![x](http://evil.example)"))


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def whole(**more: Any) -> str:
    """A file with one turn that has these fields."""
    turn = {"question": "Q", "ref": "phi3/1", "answer": "A"} | more
    return json.dumps({"format": import_export.FORMAT, "version": import_export.VERSION, "turns": [turn]})


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("c.json", whole(schema=deep(200)), "nested too deeply"),
        ("c.json", "[" + "[]," * 1_100_000 + "[]]", "more than 1,000,000 values"),
        (
            "c.json",
            whole(options={"temperature": 0}).replace('"temperature": 0', '"temperature": 1e999'),
            "it holds inf",
        ),
        ("c.json", whole(options={"seed": 0}).replace('"seed": 0', f'"seed": {"9" * 5000}'), "digits"),
        ("c.jsonl", '{"messages": [{"role": "user", "content": "Q"}]}\n' * 1_001, "1,001 conversations"),
    ],
    ids=["depth", "values", "infinity", "digits", "conversations"],
)
def test_a_file_that_would_blow_up_is_refused_soon(settings: Settings, name: str, text: str, told: str) -> None:
    began = time.process_time()
    with pytest.raises(BadInput, match=told):
        read(settings, name, text)
    assert time.process_time() - began < 3
    assert history.count_pending(settings) == 0


def test_what_each_turn_would_be_kept_with_is_counted_before_it_is_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain of n turns is kept as n traces, each with all messages before it."""
    monkeypatch.setattr(import_checks, "MOST_KEPT", 10_000)
    messages = [{"role": role, "content": "x" * 20} for _ in range(30) for role in ("user", "assistant")]
    with pytest.raises(BadInput, match="each turn is kept with what was said before it"):
        read(settings, "c.jsonl", json.dumps({"messages": messages}))
    assert read(settings, "c.jsonl", json.dumps({"messages": messages[:20]}))
