"""What waits for a person in all reviews: items to judge, and comments that call them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from phi3core.access.roles import Person
from phi3core.settings import Settings
from phi3core.timestamps import now_ms

from .discussion import Comment, comments_of, may_see, unanswered
from .queue import Progress, measure
from .review import Review, review_of, search_runs

_MOST = 8  # reviews that are told
_READ = 20  # open reviews whose progress is read, each as a whole: so many stay in memory
_DAYS = 30 * 24 * 3600 * 1000  # for so long a comment calls


@dataclass(frozen=True)
class Waiting:
    """reviews: with items that wait for the person, newest first. calls: comments that call them, and the reviews."""

    reviews: tuple[tuple[Review, Progress], ...] = ()
    calls: tuple[tuple[Review, Comment], ...] = ()


def read_waiting(settings: Settings, person: Person) -> Waiting:
    """What waits for a person. Raises StoreDown."""
    if not person.may("reviewer"):
        return Waiting()
    runs = search_runs(settings)
    found = [(review, run) for run in runs if (review := review_of(settings, run)) is not None and review.intact]
    mine = [review for review, _ in found if review.state == "open" and review.plan.asks(person)]
    measured = ((review, measure(settings, review, person)) for review in mine[:_READ])
    waiting = islice((pair for pair in measured if pair[1].waiting), _MOST)
    calls = [
        (review, one)
        for review, run in found
        for one in unanswered(comments_of(run.data.tags), person)
        if one.at > now_ms() - _DAYS and may_see(settings, review, one.about, person)
    ]
    return Waiting(tuple(waiting), tuple(calls))
