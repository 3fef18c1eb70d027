"""Rounds of a comparison, made up: answers that have ended or still come, in conversations of their own."""

from __future__ import annotations

import uuid

from phi3core.chat import history
from phi3core.evaluation.comparison import Entry, Round
from phi3core.settings import Settings
from phi3core.traces.turn import Turn


def round_of(*turns: Turn, open_to: str = "") -> Round:
    """A round with these answers."""
    return Round(tuple(Entry(turn, uuid.uuid4().hex) for turn in turns), open_to)


def answer(ref: str, text: str = "Madrid.", state: str = "done", **more: object) -> Turn:
    return Turn("The capital?", ref, answer=text, state=state, **more)  # type: ignore[arg-type]


def save(settings: Settings, round: Round, flush: bool = True) -> Round:
    """Keep the answers of a round in the store."""
    for entry in round.entries:
        history.save(settings, entry.conversation, entry.turn, [], sync=False)
    assert not flush or history.flush(settings, 60)
    return round
