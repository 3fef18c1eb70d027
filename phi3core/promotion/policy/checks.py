"""Whether a version may move to a stage: its checklist by the policy, and the request that the move carries out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, NotFound, Phi3Error, PolicyUnmet, StoreDown, StoreError
from phi3core.promotion.files import Files
from phi3core.promotion.record import history as history_module
from phi3core.promotion.snapshot import Snapshot
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import policy, requests
from .criteria import Case, criteria
from .policy import STAGES, Check
from .request_status import FileStates


@dataclass(frozen=True)
class Clearance:
    """What lets a version move: the checklist, the id of the request that is carried out, and the override's reason."""

    checks: list[Check]
    request: str = ""
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
    history = history_module.read(settings, version.name)
    files = partial(artifacts.read_state, settings, version, fetch=fetch)
    return check(Case(settings, version, stage, policies, history, files, partial(_in_production, settings, version)))


def case_of(
    settings: Settings, version: Version, stage: str, snapshot: Snapshot, files: Callable[[], artifacts.ArtifactState]
) -> Case:
    """The case of a move, by a snapshot of its model."""
    state = snapshot.state

    def production() -> Version | None:
        number = state.holder("Production")
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
    if why := policy.unrecorded_change(case.settings, case.history, case.stage, case.policy):
        found.append(Check("policy", False, why))
    for name, criterion in criteria(case):
        try:
            found.append(Check(name, *criterion()))
        except StoreDown:
            raise
        except Phi3Error as error:
            found.append(Check(name, False, f"It can't be found out: {error}"))
    return found


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


def _given_request(case: Case, files: Files, request_id: str) -> str:
    """The id of the request that the promoter named. Its approvals are of bytes: they are read and compared."""
    asked = case.requests_by(FileStates(case.settings, version=case.version))
    request = next((one for one in asked if one.id == request_id), None) or requests.get(case.settings, request_id)
    if (request.model, request.version, request.stage) != (case.version.name, case.version.version, case.stage):
        raise BadInput(
            f"The request is for {request.ref} to {request.stage}, not for {case.version.ref} to {case.stage}."
        )
    if request.is_waiting:
        read = case.requests_by(FileStates(case.settings, known={request.ref: files.read()}))
        request = next(one for one in read if one.id == request_id)
    if not request.is_waiting:
        raise Conflict(f"The request of {request.by} is {request.status}. {request.why}".strip())
    return request_id


def _waiting_request(case: Case, files: Files, override: str) -> str:
    """The id of the newest request for just this move, where that waits; else ""."""
    asked = case.requests_by(FileStates(case.settings, version=case.version))
    if not asked or not asked[0].is_waiting:
        return ""
    try:
        read = case.requests_by(FileStates(case.settings, known={case.version.ref: files.read()}))
    except (NotFound, StoreError):
        if override.strip():  # a promotion that overrides the policy need not carry out a request
            return ""
        raise
    return next((one.id for one in read if one.id == asked[0].id and one.is_waiting), "")


def _in_production(settings: Settings, version: Version) -> Version | None:
    try:
        return reader.get_version(settings, f"{version.name}/Production")
    except NotFound:
        return None
