"""Processes at work on a model, and those that were interrupted: how each one's record is to be closed.

What is there now tells whether an interrupted change took effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from phi3core import tags
from phi3core.errors import NotFound
from phi3core.promotion.policy import policy
from phi3core.promotion.record.model import Record
from phi3core.settings import Settings

from . import findings
from .record import search, writer
from .snapshot import ModelStages, read_state

_MANY = 1000  # open records, at most
_PATIENCE = timedelta(seconds=60)  # how long a process on another machine may be silent
_LONG_PATIENCE = timedelta(days=1)  # the same for a copy, which sends gigabytes and changes nothing here
_BEFORE = timedelta(minutes=5)  # at most, from the time in a copy's tags to its record


@dataclass(frozen=True)
class Outcome:
    """How a record is to be closed. status: done or interrupted. says: a sentence or two."""

    status: str
    says: str


def is_alive(settings: Settings, record: Record) -> bool:
    """Whether the process that opened a record may still be at work on it."""
    alive = writer.is_writer_alive(settings, record)
    if alive is not None:
        return alive
    patience = _LONG_PATIENCE if record.action == "copy" else _PATIENCE
    return writer.now() - record.started < patience


def at_work(settings: Settings, name: str, actions: Iterable[str], own: str) -> list[Record]:
    """The open records with one of these actions whose processes are at work. own: the id of one to leave out."""
    listed = search.page(settings, model=name, status="open", limit=_MANY).records
    others = [r for r in listed if r.action in actions and r.id != own and not r.written]
    return [record for record in others if is_alive(settings, record)]


def outcome_of(settings: Settings, state: ModelStages, record: Record) -> Outcome:
    """The outcome of a record whose process was interrupted. state: of its model, as it is now."""
    happened, doubt = _took_effect(settings, state, record)
    if happened:
        return Outcome("done", "Whoever did it died on the way; what was left to do was done by a later look.")
    if doubt:
        return Outcome("interrupted", f"Whoever did it died on the way, and it may have happened. {doubt}")
    return Outcome("interrupted", "Whoever wanted it died before it happened.")


def _took_effect(settings: Settings, state: ModelStages, record: Record) -> tuple[bool, str]:
    """Whether it is so now; where that proves nothing, a sentence that says where to look."""
    if record.action == "set policy":
        stage = record.new.partition(" needs ")[0]
        now = policy.sentence(stage, policy.parse(state.policy, state.name).get(stage, policy.Policy()))
        doubt = "" if now == record.old else f"By now another policy is set: {now}."
        return now == record.new, doubt
    if record.action == "copy":
        if ":" in record.new:  # an address, which no model's name holds
            return False, f"See there whether a version has the tag {tags.ORIGIN_VERSION} = {record.old}: {record.new}."
        return _is_copied(settings, record), ""
    return findings.took_effect(state, record), ""


def _is_copied(settings: Settings, record: Record) -> bool:
    """Whether the copy is in the other registered model of this store. Its tags were made just before its record."""
    try:
        entities = read_state(settings, record.new).entities
    except NotFound:
        return False
    return any(
        version.tags.get(tags.ORIGIN_VERSION) == record.old
        and record.started - _BEFORE <= _time(version.tags.get(tags.ORIGIN_TIME, "")) <= record.started
        for version in entities
    )


def _time(text: str) -> datetime:
    """The time that a tag says; long ago where it was edited and says none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.min
    return at if at.tzinfo else at.replace(tzinfo=UTC)
