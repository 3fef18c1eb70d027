"""Requests for a promotion: asked by one, approved or rejected by others, then promoted, or withdrawn.

Each step is a record; what a request is now follows from its records and from the files, and nothing is rewritten. So
two who decide at once are both recorded. An approval is of the files as they are at that moment: where they change,
the request is void. Records that were edited or made up behind our back do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.trust import Trust
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import pending, policy
from .evidence import Gone, Seen, evidence, holds
from .pending import DECISIONS, counts
from .policy import Policy

Verdict = Literal["approve", "reject"]
Status = Literal["open", "approved", "rejected", "withdrawn", "promoted", "void"]

WAITING = ("open", "approved")
"""What waits for a decision or for the promotion."""

_DECIDABLE = (*WAITING, "rejected")  # one may change one's mind


@dataclass(frozen=True)
class Decision:
    """What somebody decided. valid: it is his latest, and the files are as they were when he did."""

    by: str
    verdict: Verdict
    comment: str
    when: datetime
    digest: str
    valid: bool


@dataclass(frozen=True)
class Request:
    """A wish to move a version to a stage. digest: of the files when it was asked. decisions: oldest first.

    why: what made it void or ended it, as a sentence. compared: how the files were looked at this time.
    """

    id: str
    model: str
    version: int
    stage: str
    by: str
    reason: str
    when: datetime
    digest: str
    status: Status
    decisions: tuple[Decision, ...]
    why: str = ""
    compared: str = ""

    @property
    def ref(self) -> str:
        return f"{self.model}/{self.version}"

    @property
    def approvals(self) -> tuple[Decision, ...]:
        """Those that count now."""
        return tuple(decision for decision in self.decisions if decision.valid and decision.verdict == "approve")

    @property
    def rejections(self) -> tuple[Decision, ...]:
        """Those that count now."""
        return tuple(decision for decision in self.decisions if decision.valid and decision.verdict == "reject")


# ---------------------------------------------------------------- acting


def ask(settings: Settings, ref: str, stage: str, reason: str, person: Person) -> Request:
    """Ask for a version to be moved to Production or Staging. Takes the digest of its files, fetching them if need be.

    Raises Forbidden for a viewer, BadInput without a reason, NotFound, Conflict where it is asked for or there already.
    """
    roles.require(person, "reviewer", "asking for a promotion")
    target = stage.strip().capitalize()
    if target not in policy.STAGES:
        raise BadInput(f"One can ask for {' or '.join(policy.STAGES)}, not for “{stage}”.")
    if not reason.strip():
        raise BadInput("Say why it should be promoted: whoever decides reads it.")
    version = reader.get_version(settings, ref)
    if version.status not in ("", "READY"):
        raise Conflict(f"{version.ref} is not ready ({version.status}): wait until it is, or build it again.")
    if target.lower() in version.aliases:
        raise Conflict(f"{version.ref} is in {target} already.")
    if same := next((r for r in of_model(settings, version.name) if _waits_for(r, version, target)), None):
        raise Conflict(
            f"{same.by} asked for the same on {same.when:%Y-%m-%d %H:%M} UTC. Decide on that request, or withdraw it."
        )
    state = artifacts.read_state(settings, version, fetch=True)
    made = writer.append(
        settings, person, model=version.name, version=version.version, action="request", new=target, reason=reason,
        digest=state.digest, checks=[evidence(state)],
    )  # fmt: skip
    return get(settings, made.id)


def decide(settings: Settings, request_id: str, verdict: str, comment: str, person: Person) -> Request:
    """Approve or reject a request; one's latest decision counts. Takes the digest of the files anew.

    Raises Forbidden for a viewer and, where the policy asks for another approver, for who asked; BadInput for a
    rejection without a comment; Conflict where there is nothing left to decide.
    """
    roles.require(person, "reviewer", "deciding on a request")
    if verdict not in ("approve", "reject"):
        raise BadInput(f"“{verdict}” decides nothing. Write approve or reject.")
    if verdict == "reject" and not comment.strip():
        raise BadInput("Say why you reject it: whoever asked wants to know what to change.")
    request = get(settings, request_id)
    if request.status not in _DECIDABLE:
        raise Conflict(f"There is nothing left to decide: the request is {request.status}. {request.why}".strip())
    wanted = policy.read(settings, request.model).get(request.stage, Policy())
    if verdict == "approve" and wanted.other_approver and same_person(person.name, request.by):
        raise Forbidden(
            f"You asked for it yourself, and the policy of {request.model} wants another one to approve it."
        )
    state = artifacts.read_state(settings, reader.get_version(settings, request.ref), fetch=True)
    if state.digest != request.digest:
        raise Conflict(f"The request is void. {_changed(request.ref)}")
    writer.append(
        settings, person, model=request.model, version=request.version, action=verdict, new=request.stage,
        reason=comment, digest=state.digest, checks=[evidence(state)], request=request.id,
    )  # fmt: skip
    return get(settings, request.id)


def withdraw(settings: Settings, request_id: str, reason: str, person: Person) -> Request:
    """Take a request back. Raises Forbidden for who neither asked nor is an admin, Conflict where it has ended."""
    roles.require(person, "reviewer", "withdrawing a request")
    request = get(settings, request_id)
    if not same_person(person.name, request.by):
        roles.require(person, "admin", f"withdrawing what {request.by} asked for")
    if request.status in ("withdrawn", "promoted"):
        raise Conflict(f"The request has ended: it is {request.status}.")
    writer.append(
        settings, person, model=request.model, version=request.version, action="withdraw", new=request.stage,
        reason=reason, request=request.id,
    )  # fmt: skip
    return get(settings, request.id)


# ---------------------------------------------------------------- looking


def get(settings: Settings, request_id: str, state: artifacts.ArtifactState | None = None) -> Request:
    """A request as it is now. Raises NotFound.

    state: its files; where it is not given, those that are elsewhere are compared by name and size.
    """
    told = f"There is no request {request_id}. The Promotions page lists those there are."
    try:
        record = search.get(settings, request_id)
    except (NotFound, BadInput) as error:
        raise NotFound(told) from error
    trust = Trust(settings)
    if record.action != "request" or record.version is None or not trust.counts(record):
        raise NotFound(told)
    steps = _counted(record, search.every(settings, request=record.id), trust)
    files = Seen(settings, given={record.ref: state} if state else None)
    return _request(record, steps, files, _policies(settings, record.model))


def latest(settings: Settings, version: Version, stage: str) -> str | None:
    """The id of the newest request to move a version to a stage."""
    trust = Trust(settings)
    asked = search.page(settings, model=version.name, version=version.version, action="request", new=stage).records
    return next((record.id for record in asked if trust.counts(record)), None)


def of_model(settings: Settings, model: str) -> list[Request]:
    """All requests of a model, newest first, as they are now; files as in `get`."""
    return _all(settings, model, Seen(settings))


def waiting(settings: Settings) -> list[Request]:
    """The requests of all models that wait, newest first: two calls of the store, once those of before are known.

    Files that are not on this machine are not looked at here; `get` does, and whoever decides or promotes.
    """
    known, trust, files = pending.look(settings), Trust(settings), Seen(settings, quick=True)
    asked = [(r, steps) for r in known.asked if not _is_rejected(r, steps := _counted(r, known.steps[r.id], trust))]
    wanted = policy.every(settings) if asked else {}
    found = [_request(record, steps, files, wanted.get(record.model, {})) for record, steps in asked]
    return [request for request in found if request.status in WAITING]


def of_version(settings: Settings, version: Version, stage: str, state: artifacts.ArtifactState | str) -> list[Request]:
    """The requests to move a version to a stage, newest first. state: its files, or why they can't be looked at."""
    files = Seen(settings, given={version.ref: state})
    found = _all(settings, version.name, files, version.version)
    return [request for request in found if request.stage == stage]


def same_person(one: str, other: str) -> bool:
    """Whether two names are the same person's: addresses in any case are."""
    return one.strip().casefold() == other.strip().casefold()


# ---------------------------------------------------------------- inside


def _all(settings: Settings, model: str, files: Seen, version: int | None = None) -> list[Request]:
    trust = Trust(settings)
    following: dict[str, list[Record]] = {}
    for record in search.every(settings, model=model, version=version, request="*"):
        following.setdefault(record.request, []).append(record)
    asked = [r for r in search.every(settings, model=model, version=version, action="request") if r.version]
    wanted = _policies(settings, model)
    return [
        _request(record, _counted(record, following.get(record.id, ()), trust), files, wanted)
        for record in asked
        if trust.counts(record)
    ]


def _policies(settings: Settings, model: str) -> dict[str, Policy]:
    try:
        return policy.read(settings, model)
    except NotFound:  # the model is gone, and its requests are void
        return {}


def _counted(record: Record, following: Iterable[Record], trust: Trust) -> list[Record]:
    """The steps of a request, oldest first."""
    return sorted((r for r in following if counts(r, record, trust)), key=lambda r: (r.started, r.id))


def _latest(steps: Iterable[Record]) -> dict[str, Record]:
    """Everybody's latest decision."""
    return {step.user.strip().casefold(): step for step in steps if step.action in DECISIONS}


def _is_rejected(record: Record, steps: Iterable[Record]) -> bool:
    """Whether it is rejected or void, however the files are."""
    return any(r.action == "reject" and r.digest == record.digest for r in _latest(steps).values())


def _request(record: Record, steps: list[Record], files: Seen, wanted: Mapping[str, Policy]) -> Request:
    """What its steps and the files make of a request."""
    assert record.version is not None
    ended = next((r for r in steps if r.action not in DECISIONS), None)
    files_now = files.of(record) if ended is None else ""
    state = files_now if isinstance(files_now, artifacts.ArtifactState) else None
    latest = {r.id for r in _latest(steps).values()}
    decisions = tuple(
        Decision(
            r.user, "approve" if r.action == "approve" else "reject", r.reason, r.started, r.digest,
            valid=r.id in latest and r.digest == record.digest and holds(record, state),
        )
        for r in steps
        if r.action in DECISIONS
    )  # fmt: skip
    status: Status = "open"
    why = ""
    if ended is not None:
        status = "withdrawn" if ended.action == "withdraw" else "promoted"
        why = f"{ended.user} did so on {ended.started:%Y-%m-%d %H:%M} UTC{f': {ended.reason}' if ended.reason else '.'}"
    elif isinstance(files_now, Gone):
        status, why = "void", files_now
    elif not holds(record, state):
        status, why = "void", _changed(record.ref)
    elif any(d.valid and d.verdict == "reject" for d in decisions):
        status = "rejected"
    elif sum(d.valid for d in decisions) >= max(1, wanted.get(record.new, Policy()).approvals):
        status = "approved"
    return Request(
        record.id, record.model, record.version, record.new, record.user, record.reason, record.started, record.digest,
        status, decisions, why, compared=state.summary if state else str(files_now),
    )  # fmt: skip


def _changed(ref: str) -> str:
    return f"The files of {ref} are not those that were asked for: they were changed. Ask again for what they are now."


def _waits_for(request: Request, version: Version, stage: str) -> bool:
    return (request.version, request.stage) == (version.version, stage) and request.status in WAITING
