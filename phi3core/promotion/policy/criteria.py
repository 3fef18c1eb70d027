"""The criteria of a policy, each with the evidence in a sentence that names the ids it rests on.

What can't be found out is not met. Knows nothing of what a promotion then does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from phi3core import tags
from phi3core.errors import NotFound
from phi3core.promotion.record.history import matching
from phi3core.promotion.record.model import SET_TAG, Record, tag_words
from phi3core.promotion.record.trust import Trust
from phi3core.registry import reader, signature
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.text import plural

from . import verdicts
from .case import NO_OTHER, Answer, Case
from .policy import Threshold
from .request_status import same_person

_NAMED = 6  # people in one sentence


def author_of(settings: Settings, version: Version) -> str:
    """Who built a version: what its run says, else its own tag; "" where neither says it."""
    run_tags: dict[str, str] = {}
    if version.run_id:
        try:
            with translate_errors(settings):
                run_tags = dict(mlflow_client(settings).get_run(version.run_id).data.tags)
        except NotFound:  # the run was deleted for good
            run_tags = {}
    return run_tags.get(tags.USER) or run_tags.get("mlflow.user") or version.tags.get(tags.USER, "")


def criteria(case: Case) -> Iterator[tuple[str, Callable[[], Answer]]]:
    """The criteria that the policy asks for: each one's name, and what finds out whether it is met."""
    wanted = case.policy
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
    yield from verdicts.criteria(case)


# ---------------------------------------------------------------- people


def _approvals(case: Case) -> Answer:
    request, given = case.best
    needed = case.policy.approvals
    if request is None:
        return False, f"{needed} needed, and {_no_request(case)}"
    who = f" by {_names([d.by for d in given])}" if given else ""
    return len(
        given
    ) >= needed, f"{len(given)} of {needed} needed{who}, on request {request.id[:8]}. {request.compared}"


def _no_request(case: Case) -> str:
    if not case.requests:
        return f"nobody has asked for {case.stage} yet."
    last = case.requests[0]
    if last.status == "void":
        return f"request {last.id[:8]} is void: {last.why}"
    said = last.rejections[-1]
    return f"{said.by} rejected request {last.id[:8]}: {said.comment}"


def _other_approver(case: Case) -> Answer:
    author = author_of(case.settings, case.version)
    if not author:
        return False, (
            f"Nothing tells who built {case.version.ref}, so nobody can be known to be another: "
            f"its run has neither the tag {tags.USER} nor mlflow.user."
        )
    request, given = case.best
    others = [d.by for d in given if not same_person(d.by, author)]
    if request is None or not others:
        return False, f"{author} built it, and nobody else has approved it yet."
    return True, f"{_names(others)} approved it, and {author} built it (run {case.version.run_id[:8]})."


def _reviews(case: Case) -> Answer:
    found, needed = case.reviews, case.policy.reviews
    who = f", by {_names(found.people)}" if found.people else ""
    votes = f"{len(found.votes)} {plural(len(found.votes), 'vote')}"
    off = "" if case.settings.tracing else " Conversations are not kept (PHI3_TRACING is off), so no new ones come."
    people = f"{found.reviewers} of {needed} people needed"
    return found.reviewers >= needed, f"{people}: {found.up} thumbs up, {found.down} down, {votes}{who}.{off}"


def _win_rate(case: Case) -> Answer:
    needed, other = case.policy.win_rate or 0.0, case.other_production
    if other is None:
        return True, NO_OTHER
    score = case.reviews.against(other)
    ties = f", {score.ties} {plural(score.ties, 'tie')} beside" if score.ties else ""
    if score.rate is None:
        return False, f"{needed:.0%} needed, and no vote says that it or {other.ref} is better yet{ties}."
    says = f"{score.rate:.1%} against {other.ref}, {needed:.0%} needed: {score.won} won, {score.lost} lost{ties}."
    return score.rate >= needed, says


# ---------------------------------------------------------------- the version itself


def _metric(case: Case, limit: Threshold) -> Answer:
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


def _tag(case: Case, tag: str) -> Answer:
    key, sign, value = tag.partition("=")
    has = case.version.tags.get(key)
    if has is None:
        return False, f"{case.version.ref} has no tag {key}; {tag if sign else 'it'} is needed."
    if sign and has != value:
        return False, f"It is “{has}”; “{value}” is needed."
    if (record := _last_set(case, key)) and record.new == tag_words(key, has):
        if record.role != "admin":
            return False, f"It is “{has}”, which {record.user} set as a {record.role}; an admin has to set it."
        return True, f"It is “{has}”, as {record.user} set it (record {record.id[:8]})."
    return True, f"It is “{has}”."


def _last_set(case: Case, key: str) -> Record | None:
    """The newest record of the tag's value, where one was set in this app; jobs set theirs past it."""
    found = matching(case.settings, case.history, version=case.version.version, action=SET_TAG, status="done")
    trust = Trust(case.settings)
    return next((r for r in found if r.new.startswith(f"{key}=") and trust.counts(r)), None)


def _signature(case: Case) -> Answer:
    other = case.other_production
    if other is None:
        return True, NO_OTHER
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
