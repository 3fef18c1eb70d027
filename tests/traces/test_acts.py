"""What reviewers did, as it is read from traces that any program may write to."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from phi3core import tags
from phi3core.traces import acts
from phi3core.traces.acts import Act

VOTE = Act("vote", "r1", "i1", "ada@example.org", 1, values={"": "left"}, first="phi3/1", at=7)
TOLD = {"kind": "vote", "number": 1, "slot": 0, "check": False, "at": 7, "values": {"": "left"}, "first": "phi3/1"}


def read(told: str, act: Act = VOTE) -> list[Act]:
    """What is read of a trace whose one assessment has the act's id and says this."""
    given = SimpleNamespace(
        metadata={tags.REVIEW: act.review, tags.ITEM: act.item, tags.ACT: told}, assessment_id=act.id, rationale=None,
        source=SimpleNamespace(source_type="HUMAN", source_id=act.reviewer), create_time_ms=9,
    )  # fmt: skip
    trace: Any = SimpleNamespace(assessments=[given])
    return acts.acts_of([trace], "r1")


def test_a_vote_is_read_as_it_was_written() -> None:
    assert read(json.dumps(TOLD)) == [replace(VOTE, arrived=9)]


@pytest.mark.parametrize(
    "odd",
    [
        {"at": float("inf")},
        {"at": 1e17},
        {"number": float("nan")},
        {"kind": []},
        {"values": {"": ["left"]}},
        {"values": {"": None}},
        {"values": {"": True}},
    ],
)
def test_what_no_vote_can_be_is_left_out(odd: dict[str, Any]) -> None:
    assert read(json.dumps(TOLD | odd)) == []
