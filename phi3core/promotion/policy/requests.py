"""Requests for a promotion: made by one person, approved or rejected by others, then promoted, or withdrawn.

Each step is a record, so that two decisions of the same moment are both kept. Records that were edited or made up
outside of this app do not count.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, Phi3Error
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.history import History, matching
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.trust import Trust
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import policy
from .policy import Policy
from .request_status import (
    VERDICTS,
    FileStates,
    Request,
    changed_sentence,
    counts,
    evaluate,
    files_line,
    is_rejected,
    same_person,
    steps_of,
)

_WHOLE = 600.0  # seconds after which everything is read again
_CLOCKS = timedelta(seconds=120)  # how far the clocks of two machines may be apart until then
_STORES = 20
_OWN = {"name": "approver", "met": True, "says": "It is the person's own request."}


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
    if target == version.stage:
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
    own = same_person(person.name, request.by)
    writer.append(
        settings, person, model=request.model, version=request.version, action=verdict, new=request.stage,
        reason=comment, digest=state.digest, checks=[files_line(state), *([_OWN] if own else [])], request=request.id,
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
    pending, trust, files = _pending(settings), Trust(settings), FileStates(settings, quick=True)
    asked = [(r, steps) for r in pending.asked if not is_rejected(r, steps := steps_of(r, pending.steps[r.id], trust))]
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


@dataclass(frozen=True)
class _Pending:
    """The records of the requests of all models that have not ended, as they were read.

    A page with the list reads it every few seconds, so that only the records opened since the last reading are read.
    Everything is read again now and then in the background: for records that were edited or deleted meanwhile.

    asked: their records, newest first. steps: the records that follow on each, by its id. ended: the ids of requests
    that have ended and would be read again. since: from which time on records are read next. whole: when everything
    was read last, in seconds of the monotonic clock.
    """

    asked: tuple[Record, ...]
    steps: Mapping[str, tuple[Record, ...]]
    ended: frozenset[str]
    since: datetime
    whole: float


_cache: dict[tuple[str, str], _Pending] = {}  # by store and key
_refreshing: set[tuple[str, str]] = set()  # those of which everything is being read again
_lock = threading.Lock()


def _pending(settings: Settings) -> _Pending:
    """The pending requests as they are now. Raises StoreDown."""
    key = (settings.tracking_uri, settings.record_key)
    cached = _cache.get(key)
    if cached is None:
        return _keep(key, None, _read_all(settings))
    if time.monotonic() - cached.whole > _WHOLE and key not in _refreshing:
        _refreshing.add(key)
        threading.Thread(target=_refresh, args=(settings, key), daemon=True).start()
    begun = writer.now()
    found = list(search.every(settings, since=cached.since))
    found += _closed_since(settings, cached, {record.id for record in found})
    return _keep(key, cached, _merged(cached, found, Trust(settings), begun))


def _read_all(settings: Settings) -> _Pending:
    begun = writer.now()
    nothing = _Pending((), {}, frozenset(), begun, time.monotonic())
    found = [*search.every(settings, action="request"), *search.every(settings, request="*")]
    return _merged(nothing, found, Trust(settings), begun)


def _refresh(settings: Settings, key: tuple[str, str]) -> None:
    try:
        with contextlib.suppress(Phi3Error):  # the cached ones stay, and it is tried again
            found = _read_all(settings)
            _keep(key, _cache.get(key), found)
    finally:
        _refreshing.discard(key)


def _keep(key: tuple[str, str], before: _Pending | None, found: _Pending) -> _Pending:
    """Cache what was read. Where `before`, which it was made from, was replaced, another thread read later."""
    with _lock:
        if _cache.get(key) is before:
            while len(_cache) >= _STORES and key not in _cache:
                del _cache[next(iter(_cache))]
            _cache[key] = found
    return found


def _closed_since(settings: Settings, cached: _Pending, read: set[str]) -> Iterator[Record]:
    """The steps that were open at the last reading, as they are now: they may have been opened long ago."""
    for record in (step for steps in cached.steps.values() for step in steps):
        if record.status == "open" and record.id not in read:
            try:
                yield search.reread(settings, record)
            except NotFound:  # it was deleted for good, which the next reading of everything sees
                continue


def _merged(cached: _Pending, found: Iterable[Record], trust: Trust, begun: datetime) -> _Pending:
    asked = {record.id: record for record in cached.asked}
    steps = {one: {step.id: step for step in of} for one, of in cached.steps.items()}
    seen = set()
    for record in found:
        seen.add(record.id)
        if record.action == "request":
            asked.pop(record.id, None)
            if record.version is not None and record.id not in cached.ended and trust.counts(record):
                asked[record.id] = record
        elif record.request:
            steps.setdefault(record.request, {})[record.id] = record
    ended = {
        one
        for one, request in asked.items()
        if any(s.action not in VERDICTS and counts(s, request, trust) for s in steps.get(one, {}).values())
    }
    left = sorted((r for one, r in asked.items() if one not in ended), key=lambda r: r.started, reverse=True)
    return _Pending(
        tuple(left), {r.id: tuple(steps.get(r.id, {}).values()) for r in left}, frozenset(ended | cached.ended & seen),
        begun - _CLOCKS, cached.whole,
    )  # fmt: skip


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
