"""What an evaluation or a closed review has shown, kept as sealed records that a promotion's policy reads.

A version whose files are not those that were judged gets no record; neither does an endpoint, which has no files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, NotFound, StoreDown, StoreError
from phi3core.promotion.policy import evidence
from phi3core.promotion.policy.evidence import Change, Compared, Estimate, EvaluationEvidence, ReviewEvidence, Won
from phi3core.promotion.record.model import Record
from phi3core.registry import artifacts, reader
from phi3core.registry.artifacts import ArtifactState
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors

from .analysis.agreement import alpha_of
from .analysis.pairs import count_pairs
from .judgement import Judgement
from .results import Evaluation
from .reviews.review import Review
from .scorers import JUDGED
from .statistics import Mean

_DIGITS = 6  # more of each figure would not fit into a record of eight versions
_NAMED = ("temperature", "max_tokens", "seed")


def read_digests(settings: Settings, refs: Sequence[str]) -> dict[str, str]:
    """The digests of the versions' files as they are opened here, by ref; those that have no files are left out.

    Raises StoreDown.
    """
    return {ref: state.digest for ref, (_, state) in _states(settings, refs).items()}


def seal_review(settings: Settings, person: Person, review: Review, judgements: Sequence[Judgement]) -> list[Record]:
    """Keep what a closed review has shown of each version that it compares in pairs.

    Returns:
        The records, one a version whose files are still those that answered.

    Raises:
        StoreDown: the store does not answer.
    """
    votes = [one for one in judgements if one.form == "pairwise"]
    pairs, people = count_pairs(votes), len({one.reviewer for one in votes})
    answered = _digests_of_run(settings, review.evaluation)
    digests = {ref: digest for ref, digest in review.digests.items() if answered.get(ref) == digest}
    same = _unchanged(settings, pairs.refs, digests) if review.intact else {}
    prompt_set = f"{review.prompt_set.rpartition('@')[0]}@{review.set_digest}"
    made = []
    for ref, (version, state) in same.items():
        rates = {other: rate for other in same if other != ref and (rate := pairs.rate(ref, other))}
        if not rates:
            continue
        found = ReviewEvidence(
            review=review.id, prompt_set=prompt_set, people=people, items=len(pairs.items),
            own=evidence.judged(version, state), agreement=alpha_of(votes),
            against=[Won(other=evidence.judged(*same[other]), rate=_estimate(rate)) for other, rate in rates.items()],
        )  # fmt: skip
        told = [
            f"{rate.value:.1%} against {other} ({rate.low:.1%} to {rate.high:.1%})" for other, rate in rates.items()
        ]
        says = f"{'; '.join(told)}; {len(pairs.items)} items, {people} people."
        made.append(evidence.record_review(settings, person, version, state, found, review.plan.question, says))
    return made


def seal_evaluation(
    settings: Settings,
    person: Person,
    found: Evaluation,
    prompt_set: str,
    options: Mapping[str, Any],
) -> list[Record]:
    """Keep what an evaluation has shown of each version, when nothing of it is missing.

    Its run says what the files were when it began. Results and errors as `seal_review`.
    """
    same = _unchanged(settings, found.run.refs, _digests_of_run(settings, found.run.run_id))
    made = []
    for ref, (version, state) in same.items():
        # A judge's verdicts are opinions of another model, also where it judged what came before an interruption.
        means = {name: mean for name, mean in found.means(ref).items() if name not in JUDGED}
        shown = EvaluationEvidence(
            run=found.run.run_id, prompt_set=prompt_set, items=found.run.items, options=_words(options),
            own=evidence.judged(version, state), means={name: _estimate(mean) for name, mean in means.items()},
            against=[
                Compared(other=evidence.judged(*same[other]), changes=_changes(found, ref, other))
                for other in same if other != ref
            ],
        )  # fmt: skip
        says = ", ".join(f"{name} {mean.value:.3g}" for name, mean in means.items()) or "No scorer applied."
        made.append(evidence.record_evaluation(settings, person, version, state, shown, says))
    return made


def _states(settings: Settings, refs: Sequence[str]) -> dict[str, tuple[Version, ArtifactState]]:
    found = {}
    for ref in refs:
        if ref.startswith("endpoint:"):
            continue
        try:
            version = reader.get_version(settings, ref)
            state: ArtifactState | None = artifacts.read_state(settings, version)
            if state and state.remote:  # the copy on this machine is what answers
                folder = artifacts.download(settings, version)
                state = artifacts.read_local_state(settings, folder.as_uri(), ref)
        except StoreDown:
            raise
        except (BadInput, NotFound, StoreError):  # it was deleted, or its files were: nothing can be said of them
            continue
        if state is not None:
            found[ref] = version, state
    return found


def _unchanged(
    settings: Settings, refs: Sequence[str], digests: Mapping[str, str]
) -> dict[str, tuple[Version, ArtifactState]]:
    states = _states(settings, refs)
    return {ref: found for ref, found in states.items() if digests.get(ref) and digests[ref] == found[1].digest}


def _digests_of_run(settings: Settings, run_id: str) -> dict[str, str]:
    with translate_errors(settings):
        known = mlflow_client(settings).get_run(run_id).data.tags
    try:
        found = json.loads(known.get(tags.DIGESTS, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _changes(found: Evaluation, ref: str, other: str) -> dict[str, Change]:
    return {
        name: Change(better=one.better, worse=one.worse, p=round(one.p, _DIGITS), lower=one.sure and one.mean < 0)
        for name, one in found.compare(ref, other).items()
        if name not in JUDGED
    }


def _estimate(mean: Mean) -> Estimate:
    return Estimate(value=round(mean.value, _DIGITS), low=round(mean.low, _DIGITS), high=round(mean.high, _DIGITS))


def _words(options: Mapping[str, Any]) -> str:
    """The options of the answers, of which others chose some: ``temperature 0, max_tokens 256``."""
    told = [f"{name} {options[name]}" for name in _NAMED if name in options]
    rest = {name: value for name, value in options.items() if name not in _NAMED}
    told += [f"{name} {json.dumps(value)}"[:60] for name, value in rest.items()]
    return ", ".join(told)[:300] or "the models' own options"
