"""What the records say of the stages of versions: what the app left behind, and what it has not adopted yet."""

from __future__ import annotations

from collections.abc import Iterable

from .aliases import ModelStages
from .record.history import History
from .record.model import Record
from .record.timeline import MOVES, resting_stage


def recorded_stage(records: Iterable[Record], name: str, number: int) -> str:
    """The stage of a version without a reserved alias by its newest record: None, Archived, or "" without a record."""
    return resting_stage([record for record in records if not names_alias(record)], f"{name}/{number}", number)


def names_alias(record: Record) -> bool:
    """Whether it is about an alias that is not reserved."""
    return f"{record.new}{record.old}".startswith("@")


def unadopted(state: ModelStages, history: History) -> list[tuple[int, str]]:
    """The versions that are in Production or Staging by MLflow's stage alone, each with that stage.

    Not those that the app takes out of it just now, or did when it was interrupted.
    """
    if not state.stages_speak:
        return []
    moving = {record.version for record in history.open}
    return [
        (number, stage)
        for stage, number in state.places.holders.items()
        if number not in moving and not left_behind(state, history, number)
    ]


def left_behind(state: ModelStages, history: History, number: int) -> bool:
    """Whether the records say that a version left its stage, and MLflow's stage was not changed after that."""
    if not recorded_stage(history.records, state.name, number):
        return False
    ref, updated = f"{state.name}/{number}", state.updated(number)
    about = [r for r in history.records if r.action in MOVES and (r.version == number or r.replaced == ref)]
    last = max((r.ended or r.started for r in about), default=None)
    return last is not None and (updated is None or updated <= last)
