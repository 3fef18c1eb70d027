"""The criteria that reviews and evaluations answer: by their sealed records, of the files as they are now.

The newest one that is of these very files counts, whatever an earlier one said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from phi3core.promotion.record.model import Record
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.text import join_words, plural

from . import evidence
from .case import NO_OTHER, Answer, Case
from .evidence import Compared, EvaluationEvidence, ReviewEvidence, Won, short_name
from .policy import Policy, ScoreLimit

_NAMED = 3  # scorers in one sentence


def criteria(case: Case) -> Iterator[tuple[str, Callable[[], Answer]]]:
    """As `criteria.criteria`."""
    wanted = case.policy
    if wanted.review_win_rate is not None:
        yield _REVIEW, lambda: _review_win_rate(case)
    if wanted.agreement is not None:
        yield _AGREEMENT, lambda: _agreement(case)
    for name in wanted.no_regression:
        yield _regression_line(name), lambda name=name: _no_regression(case, name)  # type: ignore[misc]
    for limit in wanted.scores:
        yield _score_line(limit), lambda limit=limit: _score(case, limit)  # type: ignore[misc]


def settled_by(wanted: Policy, what: Literal["review", "evaluation"]) -> set[str]:
    """The names of the lines that reviews, or evaluations, settle."""
    if what == "review":
        asked = {_REVIEW: wanted.review_win_rate, _AGREEMENT: wanted.agreement}
        return {name for name, least in asked.items() if least is not None}
    return {*map(_regression_line, wanted.no_regression), *map(_score_line, wanted.scores)}


_REVIEW, _AGREEMENT = "review", "agreement"


def _regression_line(prompt_set: str) -> str:
    return f"no regression on {short_name(prompt_set)}"


def _score_line(limit: ScoreLimit) -> str:
    return f"{limit.scorer} on {short_name(limit.prompt_set)}"


# ---------------------------------------------------------------- reviews


def _review_win_rate(case: Case) -> Answer:
    needed, other = case.policy.review_win_rate or 0.0, case.other_production
    if other is None:
        return True, NO_OTHER
    found = _review(case, other)
    if isinstance(found, str):
        return False, f"At least {needed:.0%} for certain against {other.ref} needed, and {found}"
    record, review, won = found
    rate = won.rate
    says = (
        f"{rate.value:.1%} against {other.ref} ({rate.low:.1%} to {rate.high:.1%}), at least {needed:.0%} for certain "
        f"needed: {_counted(review.items, 'item')} by {review.people} {'person' if review.people == 1 else 'people'} "
        f"{_recorded(record)}."
    )
    return rate.low >= needed, says, f"review {review.review}"


def _agreement(case: Case) -> Answer:
    needed, other = case.policy.agreement or 0.0, case.other_production
    if other is None:
        return True, NO_OTHER
    found = _review(case, other)
    if isinstance(found, str):
        return False, f"{needed:.2f} needed, and {found}"
    record, review, _ = found
    source = f"review {review.review}"
    if review.agreement is None:
        return False, f"{needed:.2f} needed, and no item was judged by two people {_recorded(record)}.", source
    says = f"{review.agreement:.2f} of those who reviewed it, {needed:.2f} needed {_recorded(record)}."
    return review.agreement >= needed, says, source


def _review(case: Case, other: Version) -> tuple[Record, ReviewEvidence, Won] | str:
    """The newest review against the other version that is of the files of both; else why there is none."""
    state, other_state, changed = case.files(), _state(case, other), ""
    for record, found in evidence.reviews(case.settings, case.version, case.history):
        won = next((one for one in found.against if one.other.ref == other.ref), None)
        if won is None:
            continue
        if not found.own.is_now(state):
            changed = changed or _changed("review", record, case.version.ref)
        elif not won.other.is_now(other_state):
            changed = changed or _changed("review", record, other.ref)
        else:
            return record, found, won
    return changed or f"no closed review against {other.ref} tells it."


# ---------------------------------------------------------------- evaluations


def _no_regression(case: Case, prompt_set: str) -> Answer:
    other = case.other_production
    if other is None:
        return True, NO_OTHER
    found = _evaluation(case, prompt_set, other)
    if isinstance(found, str):
        return False, f"It is not known: {found}"
    record, evaluation, compared = found
    assert compared is not None
    source, against = f"evaluation {evaluation.run}", f"against {other.ref} ({evaluation.options}) {_recorded(record)}."
    if not compared.changes:
        return False, f"Nothing on it says how good an answer is: no expectation was compared {against}", source
    lower = [name for name, change in compared.changes.items() if change.lower]
    told = [
        f"{name} better on {change.better}, worse on {change.worse} (p {change.p:.2g})"
        for name, change in sorted(compared.changes.items(), key=lambda one: one[1].p)
    ][:_NAMED]
    says = f"{join_words(lower)} surely lower" if lower else "Nothing is surely lower"
    return not lower, f"{says}: {'; '.join(told)}, {against}", source


def _score(case: Case, limit: ScoreLimit) -> Answer:
    needed = f"at least {limit.at_least:g} needed"
    found = _evaluation(case, limit.prompt_set, None)
    if isinstance(found, str):
        return False, f"{needed}, and {found}"
    record, evaluation, _ = found
    source, where = f"evaluation {evaluation.run}", f"({evaluation.options}) {_recorded(record)}."
    mean = evaluation.means.get(limit.scorer)
    if mean is None:
        return False, f"{needed}, and {limit.scorer} says nothing of an item of it {where}", source
    says = f"{mean.value:.3g} ({mean.low:.3g} to {mean.high:.3g}), {needed} {where}"
    return mean.value >= limit.at_least, says, source


def _evaluation(
    case: Case, prompt_set: str, other: Version | None
) -> tuple[Record, EvaluationEvidence, Compared | None] | str:
    """The newest evaluation on a prompt set, with the other version where one is given; else why there is none."""
    name = short_name(prompt_set)
    beside = f" beside {other.ref}" if other else ""
    state, changed = case.files(), ""
    other_state = _state(case, other) if other else None
    for record, found in evidence.evaluations(case.settings, case.version, case.history):
        compared = next((one for one in found.against if other and one.other.ref == other.ref), None)
        if found.prompt_set != prompt_set or (other and compared is None):
            continue
        if not found.own.is_now(state):
            changed = changed or _changed("evaluation", record, case.version.ref)
        elif other and compared and other_state and not compared.other.is_now(other_state):
            changed = changed or _changed("evaluation", record, other.ref)
        else:
            return record, found, compared
    return changed or f"no complete evaluation of it on {name}{beside} tells it."


# ---------------------------------------------------------------- words


def _state(case: Case, version: Version) -> artifacts.ArtifactState:
    return artifacts.read_state(case.settings, version)


def _recorded(record: Record) -> str:
    return f"(record {record.id[:8]} of {record.started:%Y-%m-%d})"


def _changed(what: str, record: Record, ref: str) -> str:
    return (
        f"the {what} of {record.started:%Y-%m-%d} (record {record.id[:8]}) is of other files: those of {ref} were "
        "changed since."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {plural(count, noun)}"
