"""How the record of somebody who died on the way is closed: by what is there now, which tells whether it happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from phi3core import tags
from phi3core.errors import NotFound
from phi3core.promotion.record.model import Record
from phi3core.settings import Settings

from . import finding
from .aliases import State, read_state

_BEFORE = timedelta(minutes=5)  # at most, from the time in a copy's tags to its record


@dataclass(frozen=True)
class Ending:
    """status: done or interrupted. outcome: a sentence or two."""

    status: str
    outcome: str


def ending(settings: Settings, state: State, record: Record) -> Ending:
    """What is to be written of a record whose writer has died. state: of its model, as it is now."""
    happened, doubt = _happened(settings, state, record)
    if happened:
        return Ending("done", "Whoever did it died on the way; what was left to do was done by a later look.")
    if doubt:
        return Ending("interrupted", f"Whoever did it died on the way, and it may have happened. {doubt}")
    return Ending("interrupted", "Whoever wanted it died before it happened.")


def _happened(settings: Settings, state: State, record: Record) -> tuple[bool, str]:
    """Whether it is so now; where that tells nothing, a sentence that says where to look."""
    if record.action == "set policy":
        now = _policy(settings, record)
        doubt = "" if now == record.old else f"By now another policy is set: {now}."
        return now == record.new, doubt
    if record.action == "copy":
        if ":" in record.new:  # an address, which no model's name holds
            return False, f"See there whether a version has the tag {tags.ORIGIN_VERSION} = {record.old}: {record.new}."
        return _is_copied(settings, record), ""
    return finding.happened(state, record), ""


def _policy(settings: Settings, record: Record) -> str:
    """The policy of a record's stage as it is now, in the words of records."""
    from .policy import policy  # which builds upon what is here

    stage = record.new.partition(" needs ")[0]
    there = policy.read(settings, record.model).get(stage, policy.Policy())
    return f"{stage} needs {policy.words(there)}"


def _is_copied(settings: Settings, record: Record) -> bool:
    """Whether the copy is in the other registered model of this store. Its tags were made just before its record."""
    try:
        found = read_state(settings, record.new).found
    except NotFound:
        return False
    return any(
        version.tags.get(tags.ORIGIN_VERSION) == record.old
        and record.started - _BEFORE <= _time(version.tags.get(tags.ORIGIN_TIME, "")) <= record.started
        for version in found
    )


def _time(text: str) -> datetime:
    """Anybody may edit a tag: what is no time is long ago."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.min
    return at if at.tzinfo else at.replace(tzinfo=UTC)
