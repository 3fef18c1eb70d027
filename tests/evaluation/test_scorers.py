"""Scores of answers that need no model."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from phi3core.errors import BadInput
from phi3core.evaluation import scorers
from phi3core.evaluation.items import parse_item
from phi3core.traces.turn import Turn
from tests.evaluation.sets import item


def said(answer: str, **known: object) -> Turn:
    return Turn("?", "phi3/1", answer=answer, **{"state": "done", "finish_reason": "stop", **known})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expected", "answer", "score"),
    [
        ({"exact": "Madrid"}, " madrid. ", True),
        ({"exact": "Madrid"}, "It is Madrid.", False),
        ({"contains": ["Madrid", "Spain"]}, "MADRID is in spain", True),
        ({"contains": ["Madrid", "Spain"]}, "Madrid", False),
        ({"regex": r"\bAu\b"}, "It is Au.", True),
        ({"regex": r"\bAu\b"}, "Auto", False),
        ({"number": 1180}, "12 and 5 make 1,180", True),
        ({"number": 7}, "7 of 8", False),
        ({"number": 3}, "1,2,3", True),
        ({"number": 7}, "seven", False),
        ({"json_schema": {"required": ["a"]}}, '{"a": 1}', True),
        ({"json_schema": {"required": ["a"]}}, '{"b": 1}', False),
        ({"json_schema": {"required": ["a"]}}, "[" * 100_000, False),
        ({"json_schema": {"type": "no such type"}}, "1", False),
        ({"reference": "one two three four"}, "One two five four.", 0.75),
        ({"language": "de"}, "Die Hauptstadt von Spanien ist Madrid.", True),
        ({"language": "de"}, "The capital of Spain is Madrid.", False),
        ({"language": "ru"}, "Столица Испании — Мадрид.", True),
        ({"language": "de"}, "", False),
    ],
)
def test_an_answer_is_held_against_what_is_expected(expected: dict[str, object], answer: str, score: object) -> None:
    (name,) = (name for name in scorers.score(item("a", **expected), said(answer)) if name in scorers.QUALITY)

    assert scorers.score(item("a", **expected), said(answer))[name] == score


def test_what_is_not_expected_has_no_score() -> None:
    found = scorers.score(item("a"), said("one two three"))

    assert not found.keys() & set(scorers.QUALITY)
    assert (found["length"], found["repetition"], found["refusal"], found["finished"]) == (3.0, 0.0, False, True)


def test_what_is_said_again_and_again_is_a_repetition() -> None:
    assert scorers.score(item("a"), said("the sea is blue " * 10))["repetition"] == pytest.approx(1 - 4 / 37)


@pytest.mark.parametrize("words", ["I'm sorry, but I can't help.", "As an AI language model, I …", "I cannot do that."])
def test_a_refusal_is_seen(words: str) -> None:
    assert scorers.score(item("a"), said(words))["refusal"] is True


def test_an_answer_that_failed_meets_nothing_that_was_expected() -> None:
    assert scorers.score(item("a", contains=["x"]), said("", state="failed")) == {"contains": False}


def test_a_pattern_that_would_run_for_ever_is_not_found() -> None:
    started = time.monotonic()

    assert scorers.score(item("a", regex="(a|aa)+$"), said("a" * 60 + "b"))["regex"] is False
    assert time.monotonic() - started < 20


def test_a_scorer_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(BadInput, match="There is no scorer “taste”. There are: exact, contains"):
        scorers.check_name("taste")


def test_a_schema_from_elsewhere_fetches_nothing_and_its_patterns_end(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("true")
    outside = {"$ref": (tmp_path / "secret.json").as_uri()}

    assert scorers.score(item("a", json_schema=outside), said("1"))["json_schema"] is False
    assert scorers.score(item("a", json_schema={"pattern": "(a|aa)+$"}), said(f'"{"a" * 60}b"'))["json_schema"] is False


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"$ref": "http://127.0.0.1/x"}, "its own parts only"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "its own parts only"),
        ({"patternProperties": {"(a+)+$": {}}}, "patternProperties"),
        ({"type": "no such type"}, "The schema is none"),
    ],
)
def test_a_schema_that_leads_outside_is_refused_where_it_is_read(schema: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        parse_item({"prompt": "x", "expectations": {"json_schema": schema}}, "Line 1", 1)
