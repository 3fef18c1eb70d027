"""What is wrong with a model: stages that do not follow its aliases, and changes that no record tells of.

Reads nothing and changes nothing: it compares a model's state with its records. What is done about it is in
reconcile.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from phi3core.promotion.record.history import History
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.timeline import MOVES, holder, moves
from phi3core.registry.models import Version
from phi3core.store.client import Abilities

from .aliases import EXCLUSIVE_STAGES, ModelStages
from .record import seal, writer
from .recorded import left_behind, names_alias, recorded_stage

_CLOCKS = timedelta(seconds=60)  # how far those of two machines may be apart


@dataclass(frozen=True)
class UnrecordedChange:
    """A change that no record tells of, in the parts of the record that it is given, so that the timeline is true."""

    number: int
    action: str
    old: str
    new: str
    says: str
    replaced: str = ""
    replaced_to: str = ""


@dataclass(frozen=True)
class StageMismatch:
    """A version whose stage does not follow its alias.

    expected: the stage that the alias demands, "" where the version has none. stage: the wrong one; of a version with
    both aliases Staging, because it must lose that alias.
    """

    number: int
    stage: str
    expected: str
    says: str


def stage_mismatches(state: ModelStages) -> list[StageMismatch]:
    """The stages of a model that do not follow its aliases, the newest version first.

    While it has no reserved alias: the versions that share a stage with the one that is in it.
    """
    if state.stages_speak:
        return _lower_versions(state)
    found = []
    for number, stage in sorted(state.stages.items(), reverse=True):
        expected, ref = state.stage_by_alias(number), f"{state.name}/{number}"
        if expected != "Staging" and state.holder("Staging") == number:
            says = f"{ref} has both aliases, @production and @staging."
            found.append(StageMismatch(number, "Staging", expected, says))
        elif expected and stage != expected:
            says = f"{ref} has the alias @{expected.lower()} but the stage {stage}."
            found.append(StageMismatch(number, stage, expected, says))
        if not expected and stage in EXCLUSIVE_STAGES:
            found.append(StageMismatch(number, stage, "", _lacks_alias(state, number, stage)))
    return found


def _lacks_alias(state: ModelStages, number: int, stage: str) -> str:
    return f"{state.name}/{number} has the stage {stage} but not the alias @{stage.lower()}."


def _lower_versions(state: ModelStages) -> list[StageMismatch]:
    found = []
    for number, stage in sorted(state.stages.items(), reverse=True):
        there = state.places.holders.get(stage)
        if there is not None and number != there:
            says = f"{state.name}/{number} has the stage {stage} too, where {state.name}/{there} is, the higher number."
            found.append(StageMismatch(number, stage, "", says))
    return found


def mismatches_of_versions(versions: list[Version]) -> list[str]:
    """Sentences about stages that do not follow the aliases. versions: all of a model; [] when all agree."""
    stages = {version.version: version.mlflow_stage for version in versions}
    aliases = {alias: version.version for version in versions for alias in version.aliases}
    return mismatches_of(ModelStages(versions[0].name, aliases, stages, able=Abilities())) if versions else []


def mismatches_of(state: ModelStages) -> list[str]:
    """The same for a model's state."""
    return [found.says for found in stage_mismatches(state)]


def stage_repairs(state: ModelStages, history: History) -> list[tuple[StageMismatch, str]]:
    """What is wrong, with the stage that is right. Nothing where no version was ever promoted by this app.

    While the model has no reserved alias its stages speak, and only what the app itself left behind is put right.
    """
    if state.stages_speak:
        return [
            (StageMismatch(number, stage, "", _lacks_alias(state, number, stage)), recorded)
            for number, stage in sorted(state.stages.items(), reverse=True)
            if stage in EXCLUSIVE_STAGES and left_behind(state, history, number)
            if (recorded := recorded_stage(history.records, state.name, number))
        ]
    if not _has_moves(history) and not state.able.aliases:
        return []
    return [
        (found, found.expected or recorded_stage(history.records, state.name, found.number) or "None")
        for found in stage_mismatches(state)
    ]


def _has_moves(history: History) -> bool:
    """Whether a version was ever promoted by this app."""
    return not history.whole or any(r.action in MOVES and not names_alias(r) for r in history.records)


def unrecorded_changes(
    state: ModelStages, history: History, by_place: Mapping[str, Sequence[Record]]
) -> list[UnrecordedChange]:
    """Where aliases and stages are not as the records left them.

    by_place: for each stage and ``@alias``, the records that tell which version was there last, newest first.
    """
    found = [one for stage in EXCLUSIVE_STAGES if (one := _moved_stage(state, stage, by_place[stage], history))]
    explained = {one.number for one in found} | {int(one.replaced.rpartition("/")[2]) for one in found if one.replaced}
    for number, stage in state.stages.items():
        if number not in explained and not state.stage_by_alias(number) and stage not in EXCLUSIVE_STAGES:
            found += _moved_at_rest(state, history, number, stage)
    named = [place for place in by_place if place.startswith("@")]
    return found + [one for alias in named if (one := _moved_alias(state, alias, by_place[alias]))]


def _moved_at_rest(state: ModelStages, history: History, number: int, stage: str) -> list[UnrecordedChange]:
    """A version that is None where its records say Archived, or the other way round."""
    before = recorded_stage(history.records, state.name, number) or _stage_when_new(state, history, number)
    if not state.able.stages or not before or before == stage:
        return []
    when = _between([r for r in history.records if r.action in MOVES], state.updated(number))
    says = f"{state.name}/{number} was moved from {before} to {stage} from outside, {when}."
    return [UnrecordedChange(number, "found", before, stage, says)]


def _stage_when_new(state: ModelStages, history: History, number: int) -> str:
    """None for a version without a record that is newer than the records; "" where the records don't reach back."""
    created = state.created(number)
    newer = history.whole and _has_moves(history) and created and created > history.records[-1].started
    return "None" if newer else ""


def _moved_alias(state: ModelStages, alias: str, about: Sequence[Record]) -> UnrecordedChange | None:
    """Where an alias that is not reserved is not where a record left it. One that no record set is left alone."""
    done = [record for record in about if record.status == "done"]
    last = max(done, key=lambda record: (record.ended or record.started, record.started), default=None)
    if last is None or any(record.status == "open" for record in about):
        return None
    now, before, name = state.aliases.get(alias[1:]), _target(last, alias), state.name
    if now == before or any(_target(r, alias) == now and r.host != last.host and _is_late(r, last) for r in done):
        return None
    failed = next((r for r in about if r.status != "done" and r.started >= last.started), None)
    replaced = f"{name}/{before}" if before is not None else ""
    if now is None:
        how = f"was removed from {replaced}"
    else:
        how = f"was moved {f'from {replaced} ' if replaced else ''}to {name}/{now}"
    says, action = f"{alias} {how} from outside, {_between(done, None)}.", "found"
    if failed and _target(failed, alias) == now:
        says, action = f"{alias} {how} by what failed on {failed.started:%Y-%m-%d %H:%M} UTC: it counts.", "repair"
    if now is None:
        assert before is not None
        return UnrecordedChange(before, action, alias, "", says)
    return UnrecordedChange(now, action, "", alias, says, replaced)


def _target(record: Record, alias: str) -> int | None:
    """The version that a record pointed an alias at, None where it removed the alias."""
    return record.version if record.new == alias else None


def _moved_stage(state: ModelStages, stage: str, about: Sequence[Record], history: History) -> UnrecordedChange | None:
    """Where a stage's alias is not at the version that the records put into the stage last."""
    now, before, alias, name = state.holder(stage), holder(about, stage), f"@{stage.lower()}", state.name
    if now == before:
        return None
    when = _between([record for record in about if record.action in MOVES], None)
    if now is None:
        assert before is not None
        says = f"{alias} was removed from {name}/{before} from outside, {when}."
        if before not in state.stages:
            says = f"{name}/{before}, in {stage}, was deleted from outside, {when}."
        return UnrecordedChange(before, "found", stage, "Archived" if state.able.stages else "None", says)
    last = next(reversed(moves(about, stage)), None)
    if last is not None and _overlaps(about, last, now, stage):
        return None
    old = state.stages.get(now, "None")
    if old == stage or (old in EXCLUSIVE_STAGES and state.holder(old) == now):  # it does not leave what it still has
        old = "None"
    replaced = f"{name}/{before}" if before is not None else ""
    if failed := _failed_move(about, now, stage, last):
        says = (
            f"The promotion of {failed.ref} to {stage} that failed on {failed.started:%Y-%m-%d %H:%M} UTC had moved "
            f"{alias} already: it counts."
        )
        replaced_to = failed.replaced_to if replaced else ""
        return UnrecordedChange(now, "repair", failed.old or old, stage, says, replaced, replaced_to)
    says = f"{alias} was moved {f'from {replaced} ' if replaced else ''}to {name}/{now} from outside, {when}."
    if seal.missing_head(history.records, state.head):
        says = f"{alias} is at {name}/{now}, and no record tells since when: the latest record of {name} is missing."
    return UnrecordedChange(now, "found", old, stage, says, replaced, "Archived" if replaced else "")


def _failed_move(about: Sequence[Record], number: int, stage: str, last: Record | None) -> Record | None:
    """The version's newest failed record, where that was to move it to the stage and is newer than the last move."""
    failed = next((r for r in about if r.status in ("failed", "interrupted") and r.version == number), None)
    if failed and failed.new == stage and (last is None or failed.started >= last.started):
        return failed
    return None


def _overlaps(about: Sequence[Record], last: Record, now: int, stage: str) -> bool:
    """Whether a promotion on another machine, whose clock may be off, explains the alias as well.

    Not where the last promotion saw that version in the stage before it began: then the clocks don't matter.
    """
    return last.replaced != f"{last.model}/{now}" and any(
        record.version == now and record.new == stage and record.host != last.host and _is_late(record, last)
        for record in moves(about, stage)
    )


def _is_late(record: Record, last: Record) -> bool:
    """Whether a record of another machine may have ended after the last one began, if their clocks differ."""
    return (record.ended or record.started) > last.started - _CLOCKS


def _between(records: Sequence[Record], until: datetime | None) -> str:
    """When something was changed: after the last of these records, and before now or a time that the store says."""
    ended = [record.ended for record in records if record.ended and record.status == "done"]
    until, since = until or writer.now(), max(ended, default=None)
    if since is None or since > until:
        return f"before {_time(until)}"
    return f"between {_time(since)} and {_time(until)}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def took_effect(state: ModelStages, record: Record) -> bool:
    """Whether what an interrupted process intended is so, or will be once the stages follow the aliases."""
    number = record.version
    if record.action == "set alias":
        return state.aliases.get(record.new.removeprefix("@")) == number
    if record.action == "delete alias":
        return state.aliases.get(record.old.removeprefix("@")) != number
    if record.action == "delete":
        return number not in state.stages
    if record.action not in ("promote", "roll back") or number is None:
        return False
    if record.new in EXCLUSIVE_STAGES:
        return state.holder(record.new) == number
    at_rest = not state.stage_by_alias(number)
    return at_rest and (record.old in EXCLUSIVE_STAGES or state.stages.get(number) == record.new)
