"""Requests for a promotion: made by one person, approved or rejected by others, then promoted, or withdrawn.

Each step is a record, so that two decisions of the same moment are both kept. Records that were edited or made up
outside of this app do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.history import History, matching
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.trust import Trust
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import pending, policy
from .policy import Policy
from .request_status import (
    FileStates,
    Request,
    changed_sentence,
    evaluate,
    files_line,
    is_rejected,
    same_person,
    steps_of,
)

# ---------------------------------------------------------------- acting


def ask(settings: Settings, ref: str, stage: str, reason: str, person: Person) -> Request:
    """Ask for a version to be moved to Production or Staging. Takes the digest of its files, fetching them if need be.

    Raises Forbidden for a viewer, BadInput without a reason, NotFound, Conflict where it is there or was asked for.
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
    if same := next((r for r in of_model(settings, version.name) if _asks_the_same(r, version, target)), None):
        raise Conflict(
            f"{same.by} asked for the same on {same.when:%Y-%m-%d %H:%M} UTC. Decide on that request, or withdraw it."
        )
    state = artifacts.read_state(settings, version, fetch=True)
    made = writer.append(
        settings, person, model=version.name, version=version.version, action="request", new=target, reason=reason,
        digest=state.digest, checks=[files_line(state)],
    )  # fmt: skip
    return get(settings, made.id)


def decide(settings: Settings, request_id: str, verdict: str, comment: str, person: Person) -> Request:
    """Approve or reject a request; a person's latest decision counts. Takes the digest of the files anew.

    Raises Forbidden for a viewer and, where the policy needs another approver, for the person who asked; BadInput for
    a rejection without a comment; Conflict where there is nothing left to decide.
    """
    roles.require(person, "reviewer", "deciding on a request")
    if verdict not in ("approve", "reject"):
        raise BadInput(f"“{verdict}” decides nothing. Write approve or reject.")
    if verdict == "reject" and not comment.strip():
        raise BadInput("Say why you reject it: whoever asked wants to know what to change.")
    request = get(settings, request_id)
    if not request.is_decidable:
        raise Conflict(f"There is nothing left to decide: the request is {request.status}. {request.why}".strip())
    wanted = policy.read(settings, request.model).get(request.stage, Policy())
    if verdict == "approve" and wanted.other_approver and same_person(person.name, request.by):
        raise Forbidden(
            f"You asked for it yourself, and the policy of {request.model} wants another one to approve it."
        )
    state = artifacts.read_state(settings, reader.get_version(settings, request.ref), fetch=True)
    if state.digest != request.digest:
        raise Conflict(f"The request is void. {changed_sentence(request.ref)}")
    writer.append(
        settings, person, model=request.model, version=request.version, action=verdict, new=request.stage,
        reason=comment, digest=state.digest, checks=[files_line(state)], request=request.id,
    )  # fmt: skip
    return get(settings, request.id)


def withdraw(settings: Settings, request_id: str, reason: str, person: Person) -> Request:
    """Take a request back: the person who made it, or an admin. Raises Forbidden, and Conflict where it has ended."""
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


# ---------------------------------------------------------------- reading


def get(settings: Settings, request_id: str) -> Request:
    """A request as it is now. Files that are elsewhere are compared by name and size. Raises NotFound."""
    unknown = f"There is no request {request_id}. The Promotions page lists those there are."
    try:
        record = search.get(settings, request_id)
    except (NotFound, BadInput) as error:
        raise NotFound(unknown) from error
    trust = Trust(settings)
    if record.action != "request" or record.version is None or not trust.counts(record):
        raise NotFound(unknown)
    steps = steps_of(record, search.every(settings, request=record.id), trust)
    return evaluate(record, steps, FileStates(settings), _policies(settings, record.model))


def of_model(settings: Settings, model: str) -> list[Request]:
    """All requests of a model, newest first, as they are now; files as in `get`."""
    following = list(search.every(settings, model=model, request="*"))
    asked = search.every(settings, model=model, action="request")
    return _evaluated(settings, asked, following, FileStates(settings), _policies(settings, model))


def waiting(settings: Settings) -> list[Request]:
    """The requests of all models that wait, newest first: two calls of the store, once the earlier ones are known.

    Files that are not on this machine are not looked at here; `get`, a decision and a promotion do so.
    """
    known, trust, files = pending.read(settings), Trust(settings), FileStates(settings, quick=True)
    asked = [(r, steps) for r in known.asked if not is_rejected(r, steps := steps_of(r, known.steps[r.id], trust))]
    policies = policy.every(settings) if asked else {}
    found = [evaluate(record, steps, files, policies.get(record.model, {})) for record, steps in asked]
    return [request for request in found if request.is_waiting]


def of_version(
    settings: Settings,
    version: Version,
    stage: str,
    history: History,
    files: FileStates,
    policies: Mapping[str, Policy],
) -> list[Request]:
    """The requests to move a version to a stage, newest first. history and policies: of its model."""
    asked = matching(settings, history, version=version.version, action="request", new=stage)
    following = matching(settings, history, version=version.version, request="*") if asked else []
    return _evaluated(settings, asked, following, files, policies)


# ---------------------------------------------------------------- inside


def _evaluated(
    settings: Settings,
    asked: Iterable[Record],
    following: Iterable[Record],
    files: FileStates,
    policies: Mapping[str, Policy],
) -> list[Request]:
    """asked: the records of requests. following: those that may be steps of theirs."""
    trust = Trust(settings)
    by_request: dict[str, list[Record]] = {}
    for record in following:
        by_request.setdefault(record.request, []).append(record)
    return [
        evaluate(record, steps_of(record, by_request.get(record.id, ()), trust), files, policies)
        for record in asked
        if record.version is not None and trust.counts(record)
    ]


def _policies(settings: Settings, model: str) -> dict[str, Policy]:
    try:
        return policy.read(settings, model)
    except NotFound:  # the model is gone, and its requests are void
        return {}


def _asks_the_same(request: Request, version: Version, stage: str) -> bool:
    return request.is_waiting and (request.version, request.stage) == (version.version, stage)
