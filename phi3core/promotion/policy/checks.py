"""A policy, line by line: whether a version meets it, and the evidence in a sentence with the ids it rests on.

What can't be found out is not met. Knows nothing of what a promotion then does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from phi3core import tags
from phi3core.errors import NotFound, Phi3Error, StoreDown
from phi3core.registry import artifacts, reader, signature
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.text import plural
from phi3core.traces import feedback

from . import requests
from .evidence import Gone
from .policy import Check, Policy, Threshold, as_recorded
from .requests import Decision, Request

_NAMED = 6  # people in one sentence
_NO_OTHER = "There is no other version in Production to compare it with."


def lines(settings: Settings, version: Version, stage: str, wanted: Policy, files: Files) -> list[Check]:
    """All that the policy asks for, each with what was found. files: called where the state of the files matters."""
    if wanted.damage:
        return [Check("policy", False, wanted.damage)]
    found = []
    if odd := as_recorded(settings, version.name, stage, wanted):
        found.append(Check("policy", False, odd))
    case = _Case(settings, version, stage, wanted, files)
    for name, check in _asked(case):
        try:
            found.append(Check(name, *check()))
        except StoreDown:
            raise
        except Phi3Error as error:
            found.append(Check(name, False, f"It can't be found out: {error}"))
    return found


def author_of(settings: Settings, version: Version) -> str:
    """Who built a version: what its run says, else its own tag; empty where nothing tells."""
    said: dict[str, str] = {}
    if version.run_id:
        try:
            with translate_errors(settings):
                said = dict(mlflow_client(settings).get_run(version.run_id).data.tags)
        except NotFound:  # the run was deleted for good
            said = {}
    return said.get(tags.USER) or said.get("mlflow.user") or version.tags.get(tags.USER, "")


Answer = tuple[bool, str]
Files = Callable[[], artifacts.ArtifactState]


class _Case:
    """A version that is to move to a stage, and what more than one line wants to know of it; each is read once."""

    def __init__(self, settings: Settings, version: Version, stage: str, wanted: Policy, files: Files) -> None:
        self.settings, self.version, self.stage, self.wanted, self.files = settings, version, stage, wanted, files

    @cached_property
    def requests(self) -> list[Request]:
        """Those for this move that have not ended, newest first, judged by the files as they are now."""
        try:
            state: artifacts.ArtifactState | str = self.files()
        except NotFound as error:
            state = Gone(error)
        found = requests.of_version(self.settings, self.version, self.stage, state)
        return [request for request in found if request.status not in ("withdrawn", "promoted")]

    @cached_property
    def best(self) -> tuple[Request | None, list[Decision]]:
        """The request that waits and has the most approvals, with those of them that count."""
        open_ones = [request for request in self.requests if request.status in requests.WAITING]
        counted = [(request, self._counted(request)) for request in open_ones]
        return max(counted, key=lambda one: len(one[1]), default=(None, []))

    def _counted(self, request: Request) -> list[Decision]:
        own = self.wanted.other_approver
        return [d for d in request.approvals if not (own and requests.same_person(d.by, request.by))]

    @cached_property
    def reviews(self) -> feedback.Reviews:
        return feedback.read_reviews(self.settings, self.version, conversations=False)

    @cached_property
    def production(self) -> Version | None:
        """The present Production, where that is another version."""
        try:
            found = reader.get_version(self.settings, f"{self.version.name}/Production")
        except NotFound:
            return None
        return None if found.version == self.version.version else found


def _asked(case: _Case) -> Iterator[tuple[str, Callable[[], Answer]]]:
    wanted = case.wanted
    if wanted.approvals:
        yield "approvals", lambda: _approvals(case)
    if wanted.other_approver:
        yield "another approver", lambda: _other_approver(case)
    if wanted.reviews:
        yield "reviews", lambda: _reviews(case)
    if wanted.win_rate is not None:
        yield "win rate", lambda: _win_rate(case)
    for limit in wanted.metrics:
        yield f"metric {limit.metric}", lambda limit=limit: _metric(case, limit)  # type: ignore[misc]
    for tag in wanted.tags:
        yield f"tag {tag.partition('=')[0]}", lambda tag=tag: _tag(case, tag)  # type: ignore[misc]
    if wanted.same_signature:
        yield "signature", lambda: _signature(case)


# ---------------------------------------------------------------- people


def _approvals(case: _Case) -> Answer:
    request, given = case.best
    needed = case.wanted.approvals
    if request is None:
        return False, f"{needed} needed, and {_no_request(case)}"
    who = f" by {_names([d.by for d in given])}" if given else ""
    return len(
        given
    ) >= needed, f"{len(given)} of {needed} needed{who}, on request {request.id[:8]}. {request.compared}"


def _no_request(case: _Case) -> str:
    if not case.requests:
        return f"nobody has asked for {case.stage} yet."
    last = case.requests[0]
    if last.status == "void":
        return f"request {last.id[:8]} is void: {last.why}"
    said = last.rejections[-1]
    return f"{said.by} rejected request {last.id[:8]}: {said.comment}"


def _other_approver(case: _Case) -> Answer:
    author = author_of(case.settings, case.version)
    if not author:
        return False, (
            f"Nothing tells who built {case.version.ref}, so nobody can be known to be another: "
            f"its run has neither the tag {tags.USER} nor mlflow.user."
        )
    request, given = case.best
    others = [d.by for d in given if not requests.same_person(d.by, author)]
    if request is None or not others:
        return False, f"{author} built it, and nobody else has approved it yet."
    return True, f"{_names(others)} approved it, and {author} built it (run {case.version.run_id[:8]})."


def _reviews(case: _Case) -> Answer:
    found, needed = case.reviews, case.wanted.reviews
    who = f", by {_names(found.people)}" if found.people else ""
    votes = f"{len(found.votes)} {plural(len(found.votes), 'vote')}"
    off = "" if case.settings.tracing else " Conversations are not kept (PHI3_TRACING is off), so no new ones come."
    says = f"{found.given} of {needed} needed: {found.up} thumbs up, {found.down} down, {votes}{who}.{off}"
    return found.given >= needed, says


def _win_rate(case: _Case) -> Answer:
    needed, other = case.wanted.win_rate or 0.0, case.production
    if other is None:
        return True, _NO_OTHER
    score = case.reviews.against(other)
    ties = f", {score.ties} {plural(score.ties, 'tie')} beside" if score.ties else ""
    if score.rate is None:
        return False, f"{needed:.0%} needed, and no vote says that it or {other.ref} is better yet{ties}."
    says = f"{score.rate:.1%} against {other.ref}, {needed:.0%} needed: {score.won} won, {score.lost} lost{ties}."
    return score.rate >= needed, says


# ---------------------------------------------------------------- the version itself


def _metric(case: _Case, limit: Threshold) -> Answer:
    asked = " and ".join(
        f"{words} {value:,.6g}"
        for words, value in (("at least", limit.at_least), ("at most", limit.at_most))
        if value is not None
    )
    value = case.version.metrics.get(limit.metric)
    if value is None:
        where = f"run {case.version.run_id[:8]}" if case.version.run_id else "no run"
        return False, f"{asked} needed, and {where} has no such metric."
    least = -math.inf if limit.at_least is None else limit.at_least
    most = math.inf if limit.at_most is None else limit.at_most
    return least <= value <= most, f"{value:,.6g}, {asked} needed (run {case.version.run_id[:8]})."


def _tag(case: _Case, tag: str) -> Answer:
    key, sign, value = tag.partition("=")
    has = case.version.tags.get(key)
    if has is None:
        return False, f"{case.version.ref} has no tag {key}; {tag if sign else 'it'} is needed."
    if sign and has != value:
        return False, f"It is “{has}”; “{value}” is needed."
    return True, f"It is “{has}”."


def _signature(case: _Case) -> Answer:
    other = case.production
    if other is None:
        return True, _NO_OTHER
    both = []
    for version in (other, case.version):
        detail = reader.get_details(case.settings, version)
        if detail.mlmodel_error:
            return False, f"The signature of {version.ref} can't be read. {detail.mlmodel_error}"
        both.append(detail.signature)
    before, after = both
    if not before and not after:
        return True, f"Neither it nor {other.ref} has one."
    changed = [
        change
        for change in signature.compare_signatures(before, after)
        if not change.same and not _only_default(change)
    ]
    if before and after and not changed:
        return True, f"It is that of {other.ref}."
    broken = signature.breaking_changes(before, after)
    what = " ".join(broken[:2]) or f"{', '.join(c.name for c in changed[:3])} changed, which breaks no client."
    return False, f"It is not that of {other.ref}. {what}"


def _only_default(change: signature.SignatureChange) -> bool:
    """Whether an option has only another default: a client that sends it need not notice, nor one that does not."""
    return (
        change.name.startswith("Option ") and change.was.partition(", else ")[0] == change.now.partition(", else ")[0]
    )


# ---------------------------------------------------------------- words


def _names(people: Iterable[str]) -> str:
    named = sorted(set(people), key=str.casefold)
    more = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {more} more" if more > 0 else "")
