"""Which version was in a stage at which time, by the records alone: those that were neither edited nor made up.

Knows nothing of stores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from . import seal
from .model import Record

MOVES = ("promote", "roll back", "repair", "found")
"""The actions of records that move a version between stages."""


@dataclass(frozen=True)
class Span:
    """A time in which a version was in a stage. end: None while it still is. record: the id of what put it there."""

    version: int
    start: datetime
    end: datetime | None
    record: str


def moves(records: Iterable[Record], stage: str, edited: bool = False) -> list[Record]:
    """The moves that concern a stage, in the order in which they took effect, which is that of their ends.

    Two promotions of two machines may be opened in one order and take effect in the other. edited: include records
    that were edited since.
    """
    concerned = [
        record
        for record in seal.believable(records, edited)
        if record.status == "done"
        and record.action in MOVES
        and record.version is not None
        and (stage in (record.new, record.old))
    ]
    return sorted(concerned, key=lambda record: (record.ended or record.started, record.started))


def spans(records: Iterable[Record], stage: str = "Production") -> list[Span]:
    """The times in which a version was in Production (or Staging), oldest first."""
    return _spans(moves(records, stage), stage)


def _spans(moved: Iterable[Record], stage: str) -> list[Span]:
    found: list[Span] = []
    for record in moved:
        holder = found[-1] if found and found[-1].end is None else None
        arrives, leaves = record.new == stage, holder and record.version == holder.version
        if arrives == bool(leaves):  # it is there already, or what leaves is not the holder
            continue
        # Its start is when a person asked; a promotion that was interrupted took effect long before it was closed.
        start = max(record.started, holder.start) if holder else record.started
        if holder:
            found[-1] = Span(holder.version, holder.start, start, holder.record)
        if arrives and record.version is not None:
            found.append(Span(record.version, start, None, record.id))
    return found


def holder(records: Iterable[Record], stage: str) -> int | None:
    """The version that the records put into the stage last; None where the last one left it, or none ever came.

    An edited record is reported as damage, and not once more as a change from outside: it counts here as it is.
    """
    found = _spans(moves(records, stage, edited=True), stage)
    return found[-1].version if found and found[-1].end is None else None


def resting_stage(records: Iterable[Record], ref: str, number: int) -> str:
    """The stage of a version without a reserved alias, by the newest record that concerns it: None or Archived.

    records: of its model, newest first; edited ones count as in `holder`. Returns "" where none concerns it.
    """
    left = ""  # what it became when another one took its place
    for record in seal.believable(records, edited=True):
        if record.action not in MOVES:
            continue
        if record.replaced == ref and record.version != number:
            left = left or record.replaced_to or "Archived"
        elif record.version == number:
            if record.status != "done" and record.old in ("None", "Archived"):
                return record.old  # its promotion failed or is not through, so that it has left nothing
            if record.status == "done":
                # Where it was put into Production or Staging, it has left since.
                return left or (record.new if record.new in ("None", "Archived") else "Archived")
    return left


def earlier(records: Iterable[Record], stage: str = "Production") -> list[int]:
    """The versions that were in the stage before the one that is there now, the latest first.

    A version that a rollback took out is not among them: two rollbacks go back two versions, not forth again.
    """
    stack: list[int] = []
    for record in moves(records, stage):
        number = record.version
        if number is None or record.new != stage:
            continue
        if record.action == "roll back" and number in stack:
            del stack[len(stack) - 1 - stack[::-1].index(number) :]
        if not stack or stack[-1] != number:
            stack.append(number)
    found = spans(records, stage)
    if found and found[-1].end is None and found[-1].version == stack[-1]:
        stack = stack[:-1]
    return list(dict.fromkeys(reversed(stack)))
