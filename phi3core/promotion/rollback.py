"""Rolling back: the version that was in Production before is put back, as the records tell.

The policy's state is recorded and blocks nothing: the version was let in once, and a way back must be open, as long as
its files are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, StoreDown, StoreError
from phi3core.promotion.policy.checks import Clearance, Files, case_of, check
from phi3core.promotion.record import history as history_module
from phi3core.promotion.record.history import History, matching
from phi3core.promotion.record.timeline import earlier
from phi3core.promotion.record.trust import Trust
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings

from .aliases import Snapshot, read_state
from .promote import Move, Promotion, carry_out

_LISTED = 100  # records of versions that came into Production, and of those that left it


def rollback(
    settings: Settings, model: str, reason: str, person: Person | None = None, *, override: bool = False
) -> Promotion:
    """Put the version back that was in Production before the one that is there now.

    override: an admin goes on though its files have changed; the reason is recorded for that too. Raises as `promote`,
    and Conflict where there is nothing to go back to or the files have changed.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "releaser", f"rolling {model} back")
    if override:
        roles.require(person, "admin", f"rolling {model} back whatever its files are")
    if not reason.strip():
        raise BadInput("Say why you roll back: it is kept on the record.")
    snapshot = Snapshot(read_state(settings, model), history_module.read(settings, model))
    number = _previous(settings, snapshot)
    if number is None:
        raise Conflict(f"The records of {model} know no version that was in Production before. Promote one instead.")
    run = reader.get_run(settings, snapshot.state.version(number).run_id)
    version = snapshot.state.version(number, run)
    files = Files(settings, version)

    def clear(version: Version, snapshot: Snapshot) -> Clearance:
        changed = _files_changed(settings, version, snapshot.history, files.read)
        if changed and not override:
            raise Conflict(changed)
        lines = check(
            case_of(settings, version, "Production", snapshot, partial(artifacts.read_state, settings, version))
        )
        return Clearance(lines, override=reason if changed else "")

    return carry_out(settings, Move(person, version, run, "Production", "roll back", reason, files, clear), snapshot)


def previous_version(settings: Settings, model: str) -> Version | None:
    """The version that a rollback puts into Production; None where the records know none that is still there.

    Raises Conflict where the records are sealed with a key that is not known here.
    """
    snapshot = Snapshot(read_state(settings, model), history_module.unread(model))
    number = _previous(settings, snapshot)
    if number is None:
        return None
    return snapshot.state.version(number, reader.get_run(settings, snapshot.state.version(number).run_id))


def why_refused(settings: Settings, version: Version) -> str:
    """Why a rollback to a version will be refused, as far as can be told without fetching files; else "".

    Raises StoreDown.
    """
    history = history_module.unread(version.name)
    return _files_changed(settings, version, history, lambda: artifacts.read_state(settings, version))


def _previous(settings: Settings, snapshot: Snapshot) -> int | None:
    """The latest version that was in Production before and is still there. Raises Conflict without the records' key."""
    state, history = snapshot.state, snapshot.history
    came = matching(settings, history, new="Production", status="done", limit=_LISTED)
    left = matching(settings, history, old="Production", status="done", limit=_LISTED)
    if any(record.unproven for record in (*came, *left)):
        raise Conflict(
            f"The record of {state.name} is sealed with a key. Set PHI3_RECORD_KEY to roll back by it, or promote a "
            "version."
        )
    trust = Trust(settings)
    trusted = {record.id: record for record in (*came, *left) if trust.counts(record)}.values()
    here = state.places.holders.get("Production")
    return next((number for number in earlier(trusted) if number in state.stages and number != here), None)


def _files_changed(
    settings: Settings, version: Version, history: History, state: Callable[[], artifacts.ArtifactState]
) -> str:
    """Why a version's files are not known to be those that were in Production; "" where they are, or none are known."""
    found = matching(settings, history, version=version.version, new="Production", status="done", limit=_LISTED)
    trust = Trust(settings)
    # A change from outside has no digest: it is not known for which files the alias was moved.
    digest = next((record.digest for record in found if record.digest and trust.counts(record)), "")
    if not digest:
        return ""
    try:
        now = state()
        if now.digest in ("", digest):
            return ""
        why = f"The files of {version.ref} are not those that were in Production: they were changed since."
    except StoreDown:
        raise
    except StoreError as error:
        why = f"Nobody can tell whether the files of {version.ref} are those that were in Production. {error}"
    return (
        f"{why} Promote another version, or build this one again; an admin can roll back to it all the same, and the "
        "reason is recorded as that for an override."
    )
