"""What reviews and evaluations have shown of a version: sealed records, which the policy's criteria read.

phi3core/evaluation computes the figures when a review is closed or an evaluation is complete, and writes them here. A
record is of the version's files as they were when they were judged, and of the other version's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, TypeVar

from phi3core.access.roles import Person
from phi3core.errors import BadInput
from phi3core.promotion.record import writer
from phi3core.promotion.record.history import History, matching
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.trust import Trust
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.validation import Table, validate

from .request_status import files_line

REVIEW: Final = "review"
EVALUATE: Final = "evaluate"
"""The actions of the records."""


class Judged(Table):
    """The files of a version that were judged. digest, listing: as `artifacts.ArtifactState` has them."""

    ref: str
    digest: str
    listing: str

    def is_now(self, state: artifacts.ArtifactState) -> bool:
        """Whether the version's files are still those; by names and sizes where they are not on this machine."""
        return state.digest == self.digest if state.digest else state.listing == self.listing


class Estimate(Table):
    """A share, or a mean, with its 95 % interval."""

    value: float
    low: float
    high: float


class Won(Table):
    """The share of the votes between a version and another one that the first won; a tie is half a vote."""

    other: Judged
    rate: Estimate


class ReviewEvidence(Table):
    """A closed review of a version. agreement: Krippendorff's alpha, None where no two judged the same item."""

    review: str
    prompt_set: str
    people: int
    items: int
    own: Judged
    against: list[Won]
    agreement: float | None = None


class Change(Table):
    """A scorer's paired test. better, worse: items. lower: the mean is lower, and surely so."""

    better: int
    worse: int
    p: float
    lower: bool


class Compared(Table):
    """A version compared with another one over the same items, by scorer."""

    other: Judged
    changes: dict[str, Change]


class EvaluationEvidence(Table):
    """A complete evaluation of a version. prompt_set: with its whole digest. options: of the answers, in words."""

    run: str
    prompt_set: str
    items: int
    options: str
    own: Judged
    means: dict[str, Estimate]
    against: list[Compared]


Evidence = TypeVar("Evidence", ReviewEvidence, EvaluationEvidence)


def judged(version: Version, state: artifacts.ArtifactState) -> Judged:
    """A version's files as they are in this state, which has their digest."""
    return Judged(ref=version.ref, digest=state.digest, listing=state.listing)


def record_review(
    settings: Settings, person: Person, version: Version, state: artifacts.ArtifactState, found: ReviewEvidence,
    question: str, says: str,
) -> Record:  # fmt: skip
    """Keep what a closed review has shown of a version. says: the same in a sentence. Raises as `writer.append`."""
    new = f"against {', '.join(won.other.ref for won in found.against)}" if found.against else found.review
    return _record(settings, person, version, state, REVIEW, found, question, new, says)


def record_evaluation(
    settings: Settings, person: Person, version: Version, state: artifacts.ArtifactState, found: EvaluationEvidence,
    says: str,
) -> Record:  # fmt: skip
    """Keep what an evaluation has shown of a version. says: the same in a sentence. Raises as `writer.append`."""
    return _record(settings, person, version, state, EVALUATE, found, "", short_name(found.prompt_set), says)


def reviews(settings: Settings, version: Version, history: History) -> Iterator[tuple[Record, ReviewEvidence]]:
    """The closed reviews of a version that count, newest first. history: of its model."""
    return _read(settings, version, history, REVIEW, ReviewEvidence)


def evaluations(settings: Settings, version: Version, history: History) -> Iterator[tuple[Record, EvaluationEvidence]]:
    """The complete evaluations of a version that count, newest first. history: of its model."""
    return _read(settings, version, history, EVALUATE, EvaluationEvidence)


def source_of(record: Record) -> str:
    """What a record of evidence is of, as `Check.source` has it; "" for any other record."""
    names = {REVIEW: ("review", "review"), EVALUATE: ("evaluation", "run")}
    found = _json(record.evidence) if record.action in names else None
    if not isinstance(found, dict):
        return ""
    kind, key = names[record.action]
    return f"{kind} {found.get(key, '')}"


def short_name(prompt_set: str) -> str:
    """A prompt set's name with as much of its digest as is shown."""
    name, _, digest = prompt_set.rpartition("@")
    return f"{name}@{digest[:12]}"


def _record(
    settings: Settings, person: Person, version: Version, state: artifacts.ArtifactState, action: str, found: Table,
    reason: str, new: str, says: str,
) -> Record:  # fmt: skip
    return writer.append(
        settings, person, model=version.name, version=version.version, action=action, new=new, reason=reason,
        digest=state.digest, checks=[files_line(state)], evidence=found.model_dump_json(), outcome=says,
    )  # fmt: skip


def _read(
    settings: Settings, version: Version, history: History, action: str, table: type[Evidence]
) -> Iterator[tuple[Record, Evidence]]:
    trust = Trust(settings)
    for record in matching(settings, history, version=version.version, action=action, status="done"):
        if not trust.counts(record):
            continue
        try:
            found = validate(table, _json(record.evidence))
        except BadInput:  # sealed without the key by another program, or by a later version of this one
            continue
        if (found.own.ref, found.own.digest) == (version.ref, record.digest):
            yield record, found


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
