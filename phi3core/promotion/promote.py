"""Moving versions between stages, and aliases between versions. Every page and command comes through here.

The alias is the truth and the stage follows it: an alias points at one version only, whereas MLflow lets
two versions be in Production at once. A promotion checks the request, the policy and the files (policy/checks.py),
takes a lock on this machine, repairs what was interrupted (reconcile.py), checks once more, opens its record, applies
its plan (apply.py), and closes the record.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict
from phi3core.promotion.policy.checks import Clearance, Files, case_of, clear_promotion
from phi3core.promotion.record import history as history_module
from phi3core.promotion.record.history import History
from phi3core.registry import reader
from phi3core.registry.models import Run, Version
from phi3core.registry.reference import parse_reference
from phi3core.settings import Settings
from phi3core.store.client import find_abilities, notify_change

from .adopt import adopt_others
from .aliases import Snapshot, assign, locked, pause, read_state, remove
from .apply import apply_plan, wait_for_deletions
from .plan import Plan, plan_move, stage_of
from .reconcile import repair
from .record import writer

_COURTESY = 5.0  # seconds in which a promotion on another machine may end before this one begins


@dataclass(frozen=True)
class Promotion:
    """What a move changed: the version as it is now, and the one that left the stage for it.

    replaced: without the metrics of its run. record: the id of the run that records the move. replaced_to: the stage
    of the replaced version from then on.
    """

    version: Version
    stage: str
    replaced: Version | None
    record: str
    replaced_to: str = ""


@dataclass(frozen=True)
class Move:
    """A move that a person asked for.

    run: the version's source run. clear: whether the version may move, by a snapshot of its model; raises where it
    may not. old: the stage of the version that leaves, from then on.
    """

    person: Person
    version: Version
    run: Run
    stage: str
    action: str
    reason: str
    files: Files
    clear: Callable[[Version, Snapshot], Clearance]
    old: str = "Archived"


def promote(
    settings: Settings,
    ref: str,
    stage: str,
    reason: str = "",
    person: Person | None = None,
    *,
    old: str = "Archived",
    override: str = "",
    request: str = "",
) -> Promotion:
    """Move a version to a stage: None, Staging, Production or Archived.

    Args:
        old: the stage of the version that leaves Production or Staging for it, from then on: Archived or None.
        override: an admin's reason for going on though the policy is not met.
        request: the id of the request that this carries out.

    Raises:
        BadInput, NotFound, Forbidden, PolicyUnmet, Conflict, StoreDown: the record of the attempt, where one was
            opened, is closed as failed.
    """
    target = stage_of(stage)
    person = person or roles.local_person(settings)
    roles.require(person, "releaser", f"moving {ref} to {target}")
    version, run, snapshot = _read(settings, ref)
    if version.status not in ("", "READY"):
        raise Conflict(f"{version.ref} is not ready ({version.status}): wait until it is, or build it again.")
    files = Files(settings, version)

    def clear(version: Version, snapshot: Snapshot) -> Clearance:
        case = case_of(settings, version, target, snapshot, files.read)
        return clear_promotion(case, files, person, override=override, request=request)

    return carry_out(settings, Move(person, version, run, target, "promote", reason, files, clear, old), snapshot)


def set_alias(settings: Settings, ref: str, alias: str, reason: str = "", person: Person | None = None) -> Version:
    """Point an alias at a version; it leaves the version that had it. Raises BadInput for a reserved name."""
    _check_alias(settings, alias)
    person = person or roles.local_person(settings)
    roles.require(person, "releaser", f"pointing @{alias} at {ref}")
    name = parse_reference(ref).name
    with locked(settings, name):
        version = reader.get_version(settings, ref)
        before = read_state(settings, name).aliases.get(alias)
        replaced = f"{name}/{before}" if before is not None and before != version.version else ""
        with writer.opened(
            settings, person, model=name, version=version.version, action="set alias", new=f"@{alias}",
            replaced=replaced, reason=reason,
        ) as record:  # fmt: skip
            wait_for_deletions(settings, name, version.version, record.id)
            assign(settings, name, alias, version.version)
        notify_change(settings, name)
        return reader.get_version(settings, version.ref)


def delete_alias(settings: Settings, name: str, alias: str, reason: str = "", person: Person | None = None) -> None:
    """Remove an alias from the version it points at. Raises NotFound, or BadInput for a reserved name."""
    _check_alias(settings, alias)
    person = person or roles.local_person(settings)
    roles.require(person, "releaser", f"removing @{alias} from {name}")
    with locked(settings, name):
        version = reader.get_version(settings, f"{name}@{alias}")
        with writer.opened(
            settings, person, model=name, version=version.version, action="delete alias", old=f"@{alias}", reason=reason
        ):
            remove(settings, name, alias)
        notify_change(settings, name)


# ---------------------------------------------------------------- inside


def carry_out(settings: Settings, move: Move, snapshot: Snapshot) -> Promotion:
    """Make a move. snapshot: of its model, before the lock is taken. Raises as `promote` does."""
    version, files = move.version, move.files
    # What takes long is done before other promotions have to wait for the lock; it is remembered, and short below.
    move.clear(version, snapshot)
    files.digest(move.stage)
    with locked(settings, version.name):
        snapshot = _after_others(settings, version.name, snapshot.history)
        snapshot = adopt_others(settings, snapshot, version.version)
        files.lock_taken()
        if version.version in snapshot.state.stages:
            version = snapshot.state.version(version.version, move.run)
        clearance = move.clear(version, snapshot)  # again: a decision or another policy may have been recorded
        plan = plan_move(settings, version, move.stage, snapshot.state.versions(), old=move.old)
        return _apply(settings, move, plan, clearance, snapshot.history)


def _read(settings: Settings, ref: str) -> tuple[Version, Run, Snapshot]:
    """A version, its source run, and a snapshot of its model. Raises BadInput, NotFound."""
    reference = parse_reference(ref)
    state = read_state(settings, reference.name)
    number = state.number(reference)
    if number is None:
        reader.get_version(settings, ref)  # raises the sentence for it
        raise Conflict(f"{ref} was changed at this moment. Look, and try again.")
    snapshot = Snapshot(state, history_module.read(settings, reference.name))
    run = reader.get_run(settings, state.version(number).run_id)
    return state.version(number, run), run, snapshot


def _after_others(settings: Settings, name: str, before: History) -> Snapshot:
    """Repair what is to be repaired. A promotion on another machine may end first, for a while. The model after it."""
    ends = time.monotonic() + _COURTESY
    for attempt in itertools.count():
        repaired = repair(settings, name, before)
        if not repaired.in_flight or time.monotonic() > ends:
            return repaired.snapshot
        before = repaired.snapshot.history
        pause(attempt)
    raise AssertionError("unreachable")


def _apply(settings: Settings, move: Move, plan: Plan, clearance: Clearance, history: History) -> Promotion:
    """Apply the plan with a record around it."""
    version, replaced = plan.version, plan.replaced
    replaced_to = plan.becomes if replaced else ""
    digest, how = move.files.digest(move.stage)
    asked = clearance.request
    reason = move.reason if move.reason.strip() or not asked else asked.reason
    with writer.opened(
        settings, move.person, model=version.name, version=version.version, action=move.action, old=version.stage,
        new=plan.stage, replaced=replaced.ref if replaced else "", replaced_to=replaced_to, reason=reason,
        digest=digest, checks=[*(asdict(check) for check in clearance.checks), *how], override=clearance.override,
        request=asked.id if asked else "",
    ) as record:  # fmt: skip
        state = apply_plan(settings, plan, record, history)
        record.outcome = f"{_outcome(plan)} {asked.summary}" if asked else _outcome(plan)
    notify_change(settings, version.name)
    return Promotion(state.version(version.version, move.run), plan.stage, replaced, record.id, replaced_to)


def _outcome(plan: Plan) -> str:
    left = "".join(f" {other.ref} is {plan.becomes}." for other in plan.leaving)
    vacated = f" Nobody is in {plan.vacated} any more." if plan.vacated else ""
    return f"{plan.version.ref} is in {plan.stage}.{left}{vacated}"


def _check_alias(settings: Settings, alias: str) -> None:
    if alias.lower() in tags.RESERVED_ALIASES:
        stage = tags.RESERVED_ALIASES[alias.lower()]
        raise BadInput(f"@{alias} is reserved: it marks the version in {stage}. Move a version to {stage} instead.")
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise BadInput(f"@{alias} is reserved by MLflow. Choose another name, such as champion.")
    if not re.fullmatch(r"[A-Za-z0-9_-][\w.-]*", alias):
        raise BadInput("An alias is made of letters, digits, “_”, “-” and “.”, such as champion.")
    if not find_abilities(settings).aliases:
        raise BadInput("This store has no aliases. Move versions between stages instead.")
