"""What is not as the records left it, or does not follow the aliases. Reads nothing and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from phi3core.promotion.record.model import Record
from phi3core.promotion.record.timeline import MOVES, holder, moves, settled

from .aliases import HELD, State
from .record import seal, writer

_CLOCKS = timedelta(seconds=60)  # how far those of two machines may be apart


@dataclass(frozen=True)
class Known:
    """The newest records of a model, newest first. whole: there are no others. open: all open ones, however old."""

    records: tuple[Record, ...]
    whole: bool
    open: tuple[Record, ...]


@dataclass(frozen=True)
class Found:
    """A change that no record tells, and that becomes one so that the timeline is true. says: what it is."""

    number: int
    action: str
    old: str
    new: str
    says: str
    replaced: str = ""
    replaced_to: str = ""


@dataclass(frozen=True)
class Wrong:
    """A stage that does not follow the alias. right: the stage that the alias demands, "" where it has none.

    stage: where it wrongly is. Of a version with both aliases that is Staging, by the one that it must lose.
    """

    number: int
    stage: str
    right: str
    says: str


def wrong(state: State) -> list[Wrong]:
    """The stages of a model that do not follow its aliases, the newest version first."""
    found = []
    for number, stage in sorted(state.stages.items(), reverse=True):
        right, ref = state.right(number), f"{state.name}/{number}"
        if right != "Staging" and state.holder("Staging") == number:
            found.append(Wrong(number, "Staging", right, f"{ref} has both aliases, @production and @staging."))
        elif right and stage != right:
            says = f"{ref} has the alias @{right.lower()} but the stage {stage}."
            found.append(Wrong(number, stage, right, says))
        if not right and stage in HELD:
            says = f"{ref} has the stage {stage} but not the alias @{stage.lower()}."
            found.append(Wrong(number, stage, "", says))
    return found


def repairs(state: State, known: Known) -> list[tuple[Wrong, str]]:
    """What is wrong, and the stage that is right for it. Nothing where nobody ever promoted here."""
    if not _ours(known) and not (state.able.aliases and any(state.holder(stage) for stage in HELD)):
        return []
    return [(one, one.right or told_stage(known.records, state.name, one.number) or "None") for one in wrong(state)]


def told_stage(records: Iterable[Record], name: str, number: int) -> str:
    """What a version that holds no stage is, as its newest record says: None or Archived, "" where none concerns it."""
    return settled([record for record in records if not _of_alias(record)], f"{name}/{number}", number)


def _of_alias(record: Record) -> bool:
    """Whether it is about an alias that is not reserved."""
    return f"{record.new}{record.old}".startswith("@")


def _ours(known: Known) -> bool:
    """Whether anybody ever promoted here."""
    return not known.whole or any(record.action in MOVES and not _of_alias(record) for record in known.records)


def from_outside(state: State, known: Known, by_place: Mapping[str, Sequence[Record]]) -> list[Found]:
    """Where aliases and stages are not as the records left them.

    by_place: for each stage and ``@alias``, the records that tell who was there last, newest first.
    """
    found = [one for stage in HELD if (one := _moved_alias(state, stage, by_place[stage], known))]
    explained = {one.number for one in found} | {int(one.replaced.rpartition("/")[2]) for one in found if one.replaced}
    for number, stage in state.stages.items():
        if state.right(number) or stage in HELD or number in explained or not state.able.stages:
            continue
        ref = f"{state.name}/{number}"
        before = told_stage(known.records, state.name, number) or _as_made(state, known, number)
        if before and before != stage:
            when = _between(_moving(known.records), state.touched(number))
            says = f"{ref} was moved from {before} to {stage} from outside, {when}."
            found.append(Found(number, "found", before, stage, says))
    named = [place for place in by_place if place.startswith("@")]
    return found + [one for alias in named if (one := _moved_name(state, alias, by_place[alias]))]


def _as_made(state: State, known: Known, number: int) -> str:
    """The stage of a version that no record concerns: a new one is in None. "" where the records don't reach back."""
    made = state.made(number)
    return "None" if known.whole and _ours(known) and made and made > known.records[-1].started else ""


def _moved_name(state: State, alias: str, about: Sequence[Record]) -> Found | None:
    """Where an alias of any other name is not where a record left it. Of one that no record set, nobody can tell."""
    done = [record for record in about if record.status == "done"]
    last = max(done, key=lambda record: (record.ended or record.started, record.started), default=None)
    if last is None or any(record.status == "open" for record in about):
        return None
    now, told, name = state.aliases.get(alias[1:]), _gave(last, alias), state.name
    if now == told or any(_gave(r, alias) == now and r.host != last.host and _late(r, last) for r in done):
        return None
    failed = next((r for r in about if r.status != "done" and r.started >= last.started), None)
    replaced = f"{name}/{told}" if told is not None else ""
    if now is None:
        how = f"was removed from {replaced}"
    else:
        how = f"was moved {f'from {replaced} ' if replaced else ''}to {name}/{now}"
    says, action = f"{alias} {how} from outside, {_between(done, None)}.", "found"
    if failed and _gave(failed, alias) == now:
        says, action = f"{alias} {how} by what failed on {failed.started:%Y-%m-%d %H:%M} UTC: it counts.", "repair"
    if now is None:
        assert told is not None
        return Found(told, action, alias, "", says)
    return Found(now, action, "", alias, says, replaced)


def _gave(record: Record, alias: str) -> int | None:
    """The version that an alias points at since a record, None where that removed it."""
    return record.version if record.new == alias else None


def _moved_alias(state: State, stage: str, about: Sequence[Record], known: Known) -> Found | None:
    """Where the alias is not at the version that the records put into the stage last."""
    now, told, alias, name = state.holder(stage), holder(about, stage), f"@{stage.lower()}", state.name
    if now == told:
        return None
    when = _between(_moving(about), None)
    if now is None:
        assert told is not None
        says = f"{alias} was removed from {name}/{told} from outside, {when}."
        if told not in state.stages:
            says = f"{name}/{told}, in {stage}, was deleted from outside, {when}."
        return Found(told, "found", stage, "Archived" if state.able.stages else "None", says)
    last = next(reversed(moves(about, stage)), None)
    if last is not None and _overlaps(about, last, now, stage):
        return None
    old = state.stages.get(now, "None")
    if old == stage or (old in HELD and state.holder(old) == now):  # it does not leave what it still has
        old = "None"
    replaced = f"{name}/{told}" if told is not None else ""
    failed = next((r for r in about if r.status in ("failed", "interrupted") and r.version == now), None)
    if failed and failed.new == stage and (last is None or failed.started >= last.started):
        says = (
            f"The promotion of {failed.ref} to {stage} that failed on {failed.started:%Y-%m-%d %H:%M} UTC had moved "
            f"{alias} already: it counts."
        )
        return Found(now, "repair", failed.old or old, stage, says, replaced, failed.replaced_to if replaced else "")
    says = f"{alias} was moved {f'from {replaced} ' if replaced else ''}to {name}/{now} from outside, {when}."
    if seal.missing_head(known.records, state.head):
        says = f"{alias} is at {name}/{now}, and no record tells since when: the latest record of {name} is missing."
    return Found(now, "found", old, stage, says, replaced, "Archived" if replaced else "")


def _overlaps(about: Sequence[Record], last: Record, now: int, stage: str) -> bool:
    """Whether a promotion on another machine, whose clock may be off, explains the alias as well.

    Not where the last one saw that version in the stage before it began: then the clocks don't matter.
    """
    return last.replaced != f"{last.model}/{now}" and any(
        record.version == now and record.new == stage and record.host != last.host and _late(record, last)
        for record in moves(about, stage)
    )


def _late(record: Record, last: Record) -> bool:
    """Whether a record of another machine may have ended after the last one began, if their clocks differ."""
    return (record.ended or record.started) > last.started - _CLOCKS


def _moving(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.action in MOVES]


def _between(known: Sequence[Record], until: datetime | None) -> str:
    """When something was changed: after the last record that knew better, and before now or what the store says."""
    ended = [record.ended for record in known if record.ended and record.status == "done"]
    until, since = until or writer.now(), max(ended, default=None)
    if since is None or since > until:
        return f"before {_time(until)}"
    return f"between {_time(since)} and {_time(until)}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def happened(state: State, record: Record) -> bool:
    """Whether what a dead promoter wanted is so, or will be once the stages follow the aliases."""
    number = record.version
    if record.action == "set alias":
        return state.aliases.get(record.new.removeprefix("@")) == number
    if record.action == "delete alias":
        return state.aliases.get(record.old.removeprefix("@")) != number
    if record.action == "delete":
        return number not in state.stages
    if record.action not in ("promote", "roll back") or number is None:
        return False
    if record.new in HELD:
        return state.holder(record.new) == number
    return not state.right(number) and (record.old in HELD or state.stages.get(number) == record.new)
