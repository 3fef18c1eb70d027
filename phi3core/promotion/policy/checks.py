"""Whether a version may move to a stage: its files, its checklist by the policy, and the request that is carried out.

Files are read once before the lock is taken, and compared again while it is held: reading them may mean fetching
gigabytes, which must not be done while other promotions wait. So while it is held files that are elsewhere are compared
by name and size, and by what an object store says of them, with what they were when they were read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, NotFound, Phi3Error, PolicyUnmet, StoreDown, StoreError
from phi3core.promotion.aliases import EXCLUSIVE_STAGES, Snapshot
from phi3core.promotion.record import history as history_module
from phi3core.promotion.record.history import History, matching
from phi3core.promotion.record.trust import Trust
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import policy, requests
from .case import Case
from .criteria import criteria
from .policy import STAGES, Check, Policy
from .request_status import FILES, FileStates, Request

_UNCHECKED = "The digest is as registered, not checked: nothing that was asked for here needed the files to be read."


class Files:
    """The state of the files for one move. Nothing is read before it is asked for."""

    def __init__(self, settings: Settings, version: Version) -> None:
        self._settings, self._version = settings, version
        self._state: artifacts.ArtifactState | None = None
        self._failed: Phi3Error | None = None
        self._locked = False
        self._marks = ""

    def read(self) -> artifacts.ArtifactState:
        """Their state with the digest. Raises NotFound, StoreError, StoreDown, Conflict."""
        if self._failed:
            raise self._failed
        if self._state is None:
            try:
                self._state = self._read()
            except Phi3Error as error:
                self._failed = error
                raise
        return self._state

    def lock_taken(self) -> None:
        """From now on other promotions wait. Raises Conflict where the files have changed since they were read."""
        self._locked = True
        if self._state is None:
            return
        now = artifacts.read_state(self._settings, self._version)
        marks = artifacts.hash_etags(self._settings, self._version)
        if now.remote and (now.listing, marks) != (self._state.listing, self._marks):
            raise Conflict(f"The files of {self._version.ref} were changed at this moment. Look, and try again.")
        self._state = self._state if now.remote else now

    def digest(self, stage: str) -> tuple[str, list[dict[str, Any]]]:
        """What a move to a stage records: the digest, and a line that says so where it was not checked."""
        # A version must be able to leave a stage, whatever became of its files. Where they could not be read, an admin
        # has overridden that.
        unread = stage not in EXCLUSIVE_STAGES or isinstance(self._failed, StoreError)
        if not unread and (self._state or artifacts.is_local(self._settings, self._version)):
            return self.read().digest, []
        registered = self._version.tags.get(tags.DIGEST, "")
        return registered, [{"name": FILES, "met": True, "says": _UNCHECKED}] if registered else []

    def _read(self) -> artifacts.ArtifactState:
        self._marks = artifacts.hash_etags(self._settings, self._version)  # before: it may change while it is fetched
        state = artifacts.read_state(self._settings, self._version, fetch=not self._locked)
        if self._locked and state.remote:  # what needs them came up after they had been compared
            raise Conflict(f"What a move of {self._version.ref} needs was changed at this moment. Look, and try again.")
        return state


@dataclass(frozen=True)
class Clearance:
    """What lets a version move: the checklist, the request that is carried out, and the override's reason."""

    checks: list[Check]
    request: Request | None = None
    override: str = ""


def checklist(settings: Settings, version: Version, stage: str, fetch: bool = True) -> list[Check]:
    """What the stage needs of the version, line by line with its evidence; [] where it needs nothing.

    Args:
        fetch: take the digest of files that are elsewhere, which fetches them; else compare them by name and size.

    Raises:
        StoreDown: the store does not answer.
    """
    if stage not in STAGES:
        return []
    policies = policy.read(settings, version.name)
    history = history_module.unread(version.name)
    files = partial(artifacts.read_state, settings, version, fetch=fetch)
    return check(Case(settings, version, stage, policies, history, files, partial(_in_production, settings, version)))


def case_of(
    settings: Settings, version: Version, stage: str, snapshot: Snapshot, files: Callable[[], artifacts.ArtifactState]
) -> Case:
    """The case of a move, by a snapshot of its model."""
    state = snapshot.state

    def production() -> Version | None:
        number = state.places.holders.get("Production")
        return None if number is None else state.version(number)

    policies = policy.parse(state.policy, state.name)
    return Case(settings, version, stage, policies, snapshot.history, files, production)


def check(case: Case) -> list[Check]:
    """All that the policy asks for, each with the evidence. Raises StoreDown."""
    if case.stage not in STAGES:
        return []
    if case.policy.damage:
        return [Check("policy", False, case.policy.damage)]
    found = []
    if why := unrecorded_change(case.settings, case.history, case.stage, case.policy):
        found.append(Check("policy", False, why))
    for name, criterion in criteria(case):
        try:
            found.append(Check(name, *criterion()))
        except StoreDown:
            raise
        except Phi3Error as error:
            found.append(Check(name, False, f"It can't be found out: {error}"))
    return found


def unrecorded_change(settings: Settings, history: History, stage: str, wanted: Policy) -> str:
    """Why the policy is not the one that was last recorded, as a sentence; "" when it is."""
    trust = Trust(settings)
    for record in matching(settings, history, action="set policy", status="done", limit=1000):
        if not record.new.startswith(f"{stage} needs ") or not trust.counts(record):
            continue
        if record.new == policy.sentence(stage, wanted):
            return ""
        return (
            f"It was changed outside of this app: on {record.started:%Y-%m-%d %H:%M} UTC {record.user} set "
            f"“{record.new}”, and now it says “{policy.sentence(stage, wanted)}”. An admin must set it again."
        )
    if wanted == Policy():
        return ""
    return "It was set outside of this app: no record says who did. An admin must set it again."


def clear_promotion(case: Case, files: Files, person: Person, *, override: str, request: str) -> Clearance:
    """Let a version move, if it may.

    Raises:
        PolicyUnmet: a line is not met, and no reason to override it was given.
        Forbidden: the person may not override the policy.
        BadInput, Conflict, NotFound: the request can't be carried out by this move.
    """
    checks = check(case)
    unmet = [f"{line.name}: {line.says}" for line in checks if not line.met]
    if override.strip():
        roles.require(person, "admin", "overriding a policy")
    elif unmet:
        raise PolicyUnmet(
            f"{case.version.ref} can't move to {case.stage}. The policy for {case.stage} is not met. {' '.join(unmet)} "
            "An admin can override it with a reason."
        )
    if request:
        return Clearance(checks, _given_request(case, files, request), override)
    return Clearance(checks, _waiting_request(case, files, override), override)


def _given_request(case: Case, files: Files, request_id: str) -> Request:
    """The request that the promoter named. Its approvals are of bytes: they are read and compared."""
    asked = case.requests_by(FileStates(case.settings, version=case.version))
    request = next((one for one in asked if one.id == request_id), None) or requests.get(case.settings, request_id)
    if (request.model, request.version, request.stage) != (case.version.name, case.version.version, case.stage):
        raise BadInput(
            f"The request is for {request.ref} to {request.stage}, not for {case.version.ref} to {case.stage}."
        )
    if request.is_waiting:
        read = case.requests_by(FileStates(case.settings, states={request.ref: files.read()}))
        request = next(one for one in read if one.id == request_id)
    if not request.is_waiting:
        raise Conflict(f"The request of {request.by} is {request.status}. {request.why}".strip())
    return request


def _waiting_request(case: Case, files: Files, override: str) -> Request | None:
    """The newest request for just this move, where that waits."""
    asked = case.requests_by(FileStates(case.settings, version=case.version))
    if not asked or not asked[0].is_waiting:
        return None
    try:
        read = case.requests_by(FileStates(case.settings, states={case.version.ref: files.read()}))
    except (NotFound, StoreError):
        if override.strip():  # a promotion that overrides the policy need not carry out a request
            return None
        raise
    return next((one for one in read if one.id == asked[0].id and one.is_waiting), None)


def _in_production(settings: Settings, version: Version) -> Version | None:
    try:
        return reader.get_version(settings, f"{version.name}/Production")
    except NotFound:
        return None
