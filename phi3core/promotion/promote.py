"""Moving versions between stages, and aliases between versions. Every page and command comes through here.

The alias is the truth and the stage follows it: an alias points at one version only, whereas MLflow lets
two versions be in Production at once. A promotion checks the request, the policy and the files (vetting.py), takes a
lock on this machine, settles what others left half-done, checks once more, opens its record, carries out its plan
(carrying.py), and closes the record.
"""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict
from phi3core.registry import reader
from phi3core.registry.models import Version, parse_reference
from phi3core.settings import Settings
from phi3core.store.client import find_abilities, notify_change

from .aliases import locked, pause, point, read_state, unpoint
from .apply import after_deletions, carry_out
from .files import Files
from .plan import Plan, plan_move, stage_of
from .reconcile import settle
from .record import writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi3core.promotion.policy.vetting import Vetted

_COURTESY = 5.0  # seconds in which a promoter on another machine may finish before we begin


@dataclass(frozen=True)
class Promotion:
    """What a move changed: the version as it is now, who left the stage for it, and what that one became."""

    version: Version
    stage: str
    replaced: Version | None
    record: str
    """The id of the run that records it."""
    replaced_to: str = ""


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

    old: what whoever held Production or Staging becomes, Archived or None. override: an admin's reason for going on
    though the policy is not met. request: the request that this carries out. Raises BadInput, NotFound, Forbidden,
    PolicyUnmet, Conflict or StoreDown; when it raises, the record of the attempt is closed as failed.
    """
    target = stage_of(stage)
    person = person or roles.local_person(settings)
    roles.require(person, "releaser", f"moving {ref} to {target}")
    version = reader.get_version(settings, ref)
    if version.status not in ("", "READY"):
        raise Conflict(f"{version.ref} is not ready ({version.status}): wait until it is, or build it again.")

    def vetted(files: Files) -> Vetted:
        from .policy import vetting

        return vetting.promotion(settings, version, target, person, files, override, request)

    return _carried(settings, person, version, target, action="promote", old=old, reason=reason, vetted=vetted)


def rollback(
    settings: Settings, model: str, reason: str, person: Person | None = None, *, override: bool = False
) -> Promotion:
    """Put the version back that was in Production before the one that is there now.

    The policy's state is recorded and blocks nothing: the version was let in once, and a way back must be open, as
    long as its files are the same. override: an admin goes on where they are not; the reason is recorded for that too.
    Raises as `promote`, and Conflict where there is nothing to go back to or the files have changed.
    """
    from .policy import vetting

    person = person or roles.local_person(settings)
    roles.require(person, "releaser", f"rolling {model} back")
    if override:
        roles.require(person, "admin", f"rolling {model} back whatever its files are")
    if not reason.strip():
        raise BadInput("Say why you roll back: it is kept on the record.")
    version = vetting.previous(settings, model)
    if version is None:
        raise Conflict(f"The records of {model} know no version that was in Production before. Promote one instead.")

    def vetted(files: Files) -> Vetted:
        return vetting.way_back(settings, version, files, reason, override)

    return _carried(settings, person, version, "Production", action="roll back", reason=reason, vetted=vetted)


def previous_version(settings: Settings, model: str) -> Version | None:
    """The version that a rollback puts into Production; None where the records know none that is still there."""
    from .policy import vetting

    return vetting.previous(settings, model)


def set_alias(settings: Settings, ref: str, alias: str, reason: str = "", person: Person | None = None) -> Version:
    """Point an alias at a version; it leaves the version that had it. Raises BadInput for a reserved name."""
    _check_alias(settings, alias)
    person = person or roles.local_person(settings)
    roles.require(person, "releaser", f"pointing @{alias} at {ref}")
    name = parse_reference(ref).name
    with locked(settings, name):
        version = reader.get_version(settings, ref)
        had = read_state(settings, name).aliases.get(alias)
        left = f"{name}/{had}" if had is not None and had != version.version else ""
        with writer.opened(
            settings, person, model=name, version=version.version, action="set alias", new=f"@{alias}",
            replaced=left, reason=reason,
        ) as record:  # fmt: skip
            after_deletions(settings, name, version.version, record.id)
            point(settings, name, alias, version.version)
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
            unpoint(settings, name, alias)
        notify_change(settings, name)


# ---------------------------------------------------------------- doing it


def _carried(
    settings: Settings,
    person: Person,
    version: Version,
    target: str,
    *,
    action: str,
    old: str = "Archived",
    reason: str,
    vetted: Callable[[Files], Vetted],
) -> Promotion:
    name, files = version.name, Files(settings, version)
    # What takes long is done before anybody has to wait for the lock; it is remembered, and short below.
    vetted(files)
    files.digest(target)
    with locked(settings, name):
        _after_others(settings, name)
        files.locked()
        may = vetted(files)  # again: somebody may have rejected it, or changed the policy, meanwhile
        digest, how = files.digest(target)
        listed = reader.list_versions(settings, name)
        version = next((v for v in listed if v.version == version.version), version)
        what = plan_move(settings, version, target, listed, old=old)
        becomes = what.becomes if what.replaced else ""
        with writer.opened(
            settings, person, model=name, version=version.version, action=action, old=version.stage, new=target,
            replaced=what.replaced.ref if what.replaced else "", replaced_to=becomes, reason=reason, digest=digest,
            checks=[*(asdict(check) for check in may.checks), *how], override=may.override, request=may.request,
        ) as record:  # fmt: skip
            carry_out(settings, what, record)
            record.outcome = _outcome(what)
        notify_change(settings, name)
        return Promotion(reader.get_version(settings, version.ref), target, what.replaced, record.id, becomes)


def _after_others(settings: Settings, name: str) -> None:
    """Settle what is to be settled. Whoever is at work on another machine may finish first, for a while."""
    ends = time.monotonic() + _COURTESY
    for attempt in itertools.count():
        if not settle(settings, name).in_flight or time.monotonic() > ends:
            return
        pause(attempt)


def _outcome(what: Plan) -> str:
    left = "".join(f" {other.ref} is {what.becomes}." for other in what.leaving)
    nobody = f" Nobody is in {what.vacated} any more." if what.vacated else ""
    return f"{what.version.ref} is in {what.stage}.{left}{nobody}"


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
