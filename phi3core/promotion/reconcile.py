"""Reconciliation: what was interrupted, or changed outside of this app, is found, repaired and recorded.

The aliases say what is right; the stages follow. A promotion that is under way is left alone: it puts everything right
itself before it ends. A model without a reserved alias that this app never promoted is left as it is: another tool
manages its stages. How what is wrong is found out is in findings.py.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import NotFound
from phi3core.promotion.policy import policy
from phi3core.promotion.record import history as history_module
from phi3core.promotion.record.history import History, matching, newest_first
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.timeline import MOVES, holder
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import notify_change

from . import findings
from .aliases import (
    EXCLUSIVE_STAGES,
    LockHeld,
    ModelStages,
    Snapshot,
    assign,
    locked,
    read_state,
    remove,
    transition,
)
from .findings import StageMismatch, UnrecordedChange
from .record import seal, search, writer

RECONCILER = Person("phi3-playground", "none")
"""The author of the records of repairs."""

_BEFORE = timedelta(minutes=5)  # at most, from the time in a copy's tags to its record
_ALIAS_ACTIONS = ("set alias", "delete alias", "found", "repair")


@dataclass(frozen=True)
class Reconciliation:
    """A model after its reconciliation.

    versions: newest first, as they are now. messages: what was found or repaired, as sentences. in_flight: the records
    of what is under way. mismatches: sentences about stages that do not follow the aliases and were left, because a
    process is at work or this app never promoted the model. damage: what was done to the records outside of this app.
    records_state: as search.state.
    """

    versions: list[Version]
    messages: list[str]
    in_flight: list[Record]
    mismatches: list[str]
    damage: list[str]
    records_state: str


@dataclass(frozen=True)
class Repair:
    """What `repair` found and did, as sentences, and the model after it.

    in_flight: the records of processes on other machines that are at work, so that it did nothing.
    """

    messages: list[str]
    in_flight: list[Record]
    snapshot: Snapshot


def reconcile(settings: Settings, name: str) -> Reconciliation:
    """Find and repair what is wrong with a model. Raises NotFound, StoreDown."""
    state, history = read_state(settings, name), history_module.read(settings, name)
    records_state = "ok" if history.records else search.state(settings)
    messages: list[str] = []
    if records_state != "deleted" and _needs_repair(settings, state, history):
        with contextlib.suppress(LockHeld), locked(settings, name, patience=0):
            messages = repair(settings, name).messages
        state, history = read_state(settings, name), history_module.read(settings, name)
    damage = seal.damage(history.records, state.head, history.whole, settings.record_key)
    return Reconciliation(
        versions=state.versions(reader.get_runs(settings, (entity.run_id for entity in state.entities))),
        messages=messages,
        in_flight=list(history.open),
        mismatches=findings.mismatches_of(state),
        damage=damage if records_state != "deleted" else [],
        records_state=records_state,
    )


def mismatches(settings: Settings, name: str) -> list[str]:
    """Sentences about a model's stages that do not follow the aliases; [] when all agree. Raises NotFound."""
    return findings.mismatches_of(read_state(settings, name))


def repair(settings: Settings, name: str, before: History | None = None) -> Repair:
    """Repair a model. The caller holds the model's lock.

    Does nothing while a process on another machine moves or deletes a version. before: the model's records as they
    were read already: where they are still the same, they are not read twice.
    """
    snapshot = _consistent(settings, name, before)
    state, history = snapshot.state, snapshot.history
    half_closed = [record for record in history.open if record.written]
    for record in half_closed:  # its process ended before it set the run's status, or is about to do the same
        writer.set_run_status(settings, record)
    history = history.with_records(replace(record, status=record.written, written="") for record in half_closed)
    if others := [record for record in history.open if _moves_elsewhere(settings, record)]:
        return Repair([], others, Snapshot(state, history))
    interrupted = [record for record in history.open if _is_interrupted(settings, record)]
    if _finish_aliases(settings, state, interrupted):
        state = read_state(settings, name)
    outcomes = [(record, *_outcome(settings, state, record)) for record in interrupted]
    ended = [replace(record, status=status, ended=writer.now()) for record, status, _ in outcomes]
    messages = _repair(settings, Snapshot(state, history.with_records(ended)))
    messages += [_close(settings, record, status, says) for record, status, says in outcomes]
    if messages:
        notify_change(settings, name)
    if messages or half_closed:
        snapshot = _consistent(settings, name)
    return Repair(messages, [], snapshot)


def take_alias(settings: Settings, name: str, number: int, stage: str) -> None:
    """Take a stage's alias from a version.

    MLflow can't remove it from one version only: if another one has just got it, that one gets it back.
    """
    remove(settings, name, stage.lower())
    recorded = holder(search.page(settings, model=name).records, stage)
    if recorded is not None and recorded != number:
        assign(settings, name, stage.lower(), recorded)


# ---------------------------------------------------------------- what is to be done


def _needs_repair(settings: Settings, state: ModelStages, history: History) -> bool:
    return bool(
        history.open
        or findings.unrecorded_changes(state, history, _by_place(settings, state, history))
        or findings.stage_repairs(state, history)
    )


def _repair(settings: Settings, snapshot: Snapshot) -> list[str]:
    """Record what no record tells of, then move the stages that do not follow the aliases."""
    state, history, messages = snapshot.state, snapshot.history, []
    for change in findings.unrecorded_changes(state, history, _by_place(settings, state, history)):
        history = history.with_records([_append(settings, state.name, change)])
        messages.append(change.says)
    for mismatch, stage in findings.stage_repairs(state, history):
        messages.append(_repair_stage(settings, state, mismatch, stage))
    return messages


def _append(settings: Settings, name: str, change: UnrecordedChange) -> Record:
    return writer.append(
        settings, RECONCILER, model=name, version=change.number, action=change.action, old=change.old, new=change.new,
        replaced=change.replaced, replaced_to=change.replaced_to, reason=change.says,
    )  # fmt: skip


def _repair_stage(settings: Settings, state: ModelStages, mismatch: StageMismatch, stage: str) -> str:
    """Move a version to the stage that is right, with a record. Returns what was done, as a sentence."""
    both = state.holder(mismatch.stage) == mismatch.number
    with writer.opened(
        settings, RECONCILER, model=state.name, version=mismatch.number, action="repair", old=mismatch.stage,
        new=stage, reason=mismatch.says,
    ):  # fmt: skip
        if both:
            take_alias(settings, state.name, mismatch.number, mismatch.stage)
        transition(settings, state.name, mismatch.number, stage)
    did = f"@{mismatch.stage.lower()} was removed from it." if both else f"It was moved to {stage}."
    return f"{mismatch.says} {did}"


def _close(settings: Settings, record: Record, status: str, says: str) -> str:
    """Close the record of a process that was interrupted. Returns what it was, as a sentence."""
    writer.close(settings, record, status, says)
    when = f"{record.started:%Y-%m-%d %H:%M} UTC, by {record.user}"
    return f"{record.says} ({when}) was interrupted. {says}"


def _finish_aliases(settings: Settings, state: ModelStages, interrupted: list[Record]) -> bool:
    """Take the other alias of versions that were to lose it when their promotion was interrupted. Whether one did."""
    late = [
        (record.model, record.version, other)
        for record in interrupted
        if record.version is not None and record.new in EXCLUSIVE_STAGES and findings.took_effect(state, record)
        for other in EXCLUSIVE_STAGES
        if other != record.new and state.holder(other) == record.version
    ]
    for name, number, stage in late:
        take_alias(settings, name, number, stage)
    return bool(late)


# ---------------------------------------------------------------- interrupted processes


def _outcome(settings: Settings, state: ModelStages, record: Record) -> tuple[str, str]:
    """How the record of an interrupted process is to be closed: done or interrupted, and a sentence or two."""
    happened, doubt = _took_effect(settings, state, record)
    if happened:
        return ("done", "Whoever did it died on the way; what was left to do was done by a later look.")
    if doubt:
        return ("interrupted", f"Whoever did it died on the way, and it may have happened. {doubt}")
    return ("interrupted", "Whoever wanted it died before it happened.")


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


# ---------------------------------------------------------------- reading


def _consistent(settings: Settings, name: str, before: History | None = None) -> Snapshot:
    """A model while no change begins or ends: half of one that has ended since would look like damage."""
    history = before or history_module.read(settings, name)
    while True:
        state, previous, history = read_state(settings, name), history, history_module.read(settings, name)
        if history == previous or any(_moves_elsewhere(settings, record) for record in history.open):
            return Snapshot(state, history)


def _moves_elsewhere(settings: Settings, record: Record) -> bool:
    """Whether a process on another machine moves or deletes a version; on this one it would hold the lock."""
    moving = record.action in (*MOVES, "delete") and not record.written
    return moving and writer.is_writer_alive(settings, record) is None and writer.is_alive(settings, record)


def _is_interrupted(settings: Settings, record: Record) -> bool:
    """Whether the process of an open record has ended. A record that was closed since it was read is not open."""
    if writer.is_alive(settings, record):
        return False
    return search.reread(settings, record).status == "open"


def _by_place(settings: Settings, state: ModelStages, history: History) -> dict[str, list[Record]]:
    """For each stage, and each alias that is there or was, the records that tell which version was there last."""
    named = {f"@{alias}" for alias in state.aliases if alias not in tags.RESERVED_ALIASES}
    named |= {place for record in history.records for place in (record.new, record.old) if place.startswith("@")}
    return {place: _records_of(settings, history, place) for place in (*EXCLUSIVE_STAGES, *sorted(named))}


def _records_of(settings: Settings, history: History, place: str) -> list[Record]:
    """The records of a stage or an ``@alias``. The last one that was done may be older than the newest few."""
    actions = _ALIAS_ACTIONS if place.startswith("@") else MOVES
    recent = [record for record in history.records if place in (record.new, record.old)]
    if history.whole or any(record.status == "done" and record.action in actions for record in recent):
        return recent
    came = matching(settings, history, new=place, status="done", limit=5)
    left = matching(settings, history, old=place, status="done", limit=5)
    return newest_first(recent, came, left)
