"""A review: a question that people answer about the answers of an evaluation, and who does so, how often, until when.

It is a run whose tags hold its definition, sealed as records are, and whose artifact holds its items with all that a
reviewer needs. So nothing that happens to a version, an answer or a prompt set later changes what is reviewed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import NotFound
from phi3core.promotion.record import seal
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, search_pages, translate_errors
from phi3core.timestamps import from_ms, now_ms

from .item_state import same
from .plan import Plan

if TYPE_CHECKING:
    from mlflow.entities import Run

_PLAN = TypeAdapter(Plan)


@dataclass(frozen=True)
class Review:
    """A review as its run tells it. id: of its run. by: who owns it. when: milliseconds since 1970.

    evaluation: the id of the run whose answers are judged. prompt_set: ``name@digest``; set_digest: all of its digest.
    refs: the versions. digests: by version, of its files when the review was made; empty for an endpoint. items: how
    many. items_digest: of the artifact that holds them. intact: it says what it said when it was made.
    closing: its result is being made, and no votes are taken.
    """

    id: str
    plan: Plan
    by: str
    when: int
    evaluation: str
    prompt_set: str
    set_digest: str
    refs: tuple[str, ...]
    digests: Mapping[str, str]
    items: int
    items_digest: str
    intact: bool
    closed: bool
    closing: bool = False

    @property
    def state(self) -> Literal["open", "over", "closed"]:
        """Over: its deadline has passed, and its owner has not closed it yet."""
        if self.closed:
            return "closed"
        return "over" if 0 < self.plan.deadline <= now_ms() else "open"

    def is_run_by(self, person: Person) -> bool:
        """Whether the person may close it, and see how it stands: its owner, and an admin."""
        return person.may("admin") or (person.may("reviewer") and same(person.name, self.by))


def search_reviews(settings: Settings) -> list[Review]:
    """The reviews in the store, newest first. Raises StoreDown."""
    return [review for run in search_runs(settings) if (review := review_of(settings, run)) is not None]


def search_runs(settings: Settings) -> list[Run]:
    """The runs of all reviews, newest first: what is said in them is in their tags, too."""
    home = experiment_id(settings, tags.REVIEWS)

    def search(**page: Any) -> Any:
        where = f"tags.`{tags.SEAL}` != ''"
        return mlflow_client(settings).search_runs([home], where, order_by=["attributes.start_time DESC"], **page)

    return [run for page in search_pages(settings, search) for run in page]


def read_review(settings: Settings, id: str) -> Review:
    """A review by its id. Raises NotFound, StoreDown."""
    found = review_of(settings, read_run(settings, id))
    if found is None:
        raise NotFound(f"The run {id} is no review.")
    return found


def read_run(settings: Settings, id: str) -> Run:
    """The run of a review. Raises NotFound, StoreDown."""
    if not re.fullmatch(r"[0-9a-f]{32}", id):
        raise NotFound(f"“{id[:60]}” is no review's id. “phi3 review list” lists them.")
    with translate_errors(settings):
        return mlflow_client(settings).get_run(id)


def definition_tags(
    settings: Settings, plan: Plan, person: Person, started: int, of: Mapping[str, str]
) -> dict[str, str]:
    """The tags of a review's run, sealed. of: the others, by name."""
    told = {**of, tags.PLAN: json.dumps(asdict(plan), ensure_ascii=False), tags.USER: person.name}
    return told | {tags.SEAL: seal.of_content(_sealed(told, started), settings.record_key)}


_SEALED = (
    tags.PLAN, tags.USER, tags.EVALUATION, tags.PROMPT_SET, tags.ITEMS, tags.VERSIONS, tags.DIGEST, tags.SET_DIGEST,
)  # fmt: skip


def _sealed(told: Mapping[str, str], started: int) -> dict[str, str]:
    return {name: told.get(name, "") for name in _SEALED} | {"started": str(started)}


def review_of(settings: Settings, run: Run) -> Review | None:
    """What a run's tags tell; None where they are not those of a review: anybody may write to the store."""
    known = run.data.tags
    try:
        plan = _PLAN.validate_json(known[tags.PLAN], strict=True, extra="forbid")
        from_ms(plan.deadline)  # raises for what is no time
        versions = json.loads(known[tags.VERSIONS])
        return Review(
            run.info.run_id,
            plan,
            known[tags.USER],
            run.info.start_time,
            known[tags.EVALUATION],
            known[tags.PROMPT_SET],
            known[tags.SET_DIGEST],
            tuple(map(str, versions)),
            {str(ref): str(digest) for ref, digest in versions.items()},
            int(known[tags.ITEMS]),
            known[tags.DIGEST],
            seal.holds(known.get(tags.SEAL, ""), _sealed(known, run.info.start_time), settings.record_key),
            tags.CLOSING in known,
            tags.BEING_CLOSED in known and tags.CLOSING not in known,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError, RecursionError):
        return None
