"""What a review asks of whom, as a person plans it, and the check of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from phi3core.access.roles import ROLES, Person
from phi3core.clean_text import one_line, without_control
from phi3core.errors import BadInput
from phi3core.evaluation.judgement import Form
from phi3core.timestamps import now_ms

from .item_state import same

GROUP, ROLE = "group:", "role:"
"""What reviewers begin with who are no single person: a group of the provider's, or all with a role or a higher one."""

MOST_REVIEWS = 20
MOST_CRITERIA = 8
_LONGEST = 500  # letters of the question
_MOST_NAMES, _LONGEST_NAMES = 100, 4000  # MLflow cuts a run's tag at 8,000 letters without a word


@dataclass(frozen=True)
class Plan:
    """What is asked. question: in words. form: how it is answered; a pairwise one shows two versions' answers.

    reviewers: names, ``group:NAME`` or ``role:reviewer``; empty for everybody who may review. reviews: how many votes
    each item needs. criteria: what is rated, each 1 to 5. deadline: in milliseconds since 1970, 0 for none. checks: the
    share of items that come twice to whoever judged them, from 0 to 0.5.
    """

    question: str
    form: Form = "pairwise"
    reviewers: tuple[str, ...] = ()
    reviews: int = 1
    criteria: tuple[str, ...] = ()
    deadline: int = 0
    checks: float = 0.0

    def asks(self, person: Person) -> bool:
        """Whether the person is one of the reviewers, and has the role that reviewing needs."""
        if not person.may("reviewer"):
            return False
        return not self.reviewers or any(_names(given, person) for given in self.reviewers)

    @property
    def per_answer(self) -> tuple[str, ...]:
        """What one vote has a value for: the criteria of a rating, else one without a name."""
        return self.criteria if self.form == "rating" else ("",)


def check_plan(plan: Plan, versions: int) -> Plan:
    """The plan, tidied. versions: how many answered.

    Raises:
        BadInput: what is wrong with it.
    """
    question = one_line(plan.question, _LONGEST)
    criteria = tuple(dict.fromkeys(one_line(name, 40) for name in plan.criteria if name.strip()))
    reviewers = tuple(dict.fromkeys(without_control(name).strip() for name in plan.reviewers if name.strip()))
    if not question:
        raise BadInput("Say what the review asks, such as “Is 7 fit to replace 5?”.")
    if plan.form not in get_args(Form):
        raise BadInput(f"“{plan.form}” is no form of a review. There are {', '.join(get_args(Form))}.")
    if plan.form == "pairwise" and versions < 2:
        raise BadInput("Two answers are compared where at least two versions gave some: evaluate another one, too.")
    if plan.form == "rating" and not 1 <= len(criteria) <= MOST_CRITERIA:
        raise BadInput(f"Name one to {MOST_CRITERIA} criteria that are rated, such as “helpful”.")
    if not 1 <= plan.reviews <= MOST_REVIEWS:
        raise BadInput(f"Each item takes 1 to {MOST_REVIEWS} reviews, and not {plan.reviews}.")
    if not 0 <= plan.checks <= 0.5:
        raise BadInput("The share of items that come twice is between 0 and 0.5.")
    if plan.deadline and plan.deadline <= now_ms():
        raise BadInput("The deadline is over already: name a later day, or none.")
    if len(reviewers) > _MOST_NAMES or sum(map(len, reviewers)) > _LONGEST_NAMES:
        raise BadInput("These are more reviewers than a review can name: name a group or a role instead.")
    for name in reviewers:
        if name.startswith(ROLE) and name.removeprefix(ROLE) not in ROLES[1:]:
            raise BadInput(f"“{name}” is no role that reviews. There are {', '.join(ROLES[1:])}.")
    people = [name for name in reviewers if not name.startswith((GROUP, ROLE))]
    if reviewers and len(people) == len(reviewers) < plan.reviews:
        raise BadInput(f"Each item needs {plan.reviews} reviews, and only {len(people)} reviewers are named.")
    kept = criteria if plan.form == "rating" else ()
    return replace(plan, question=question, criteria=kept, reviewers=reviewers)


def _names(given: str, person: Person) -> bool:
    if given.startswith(GROUP):
        return given.removeprefix(GROUP) in person.groups
    if given.startswith(ROLE):
        return person.may(given.removeprefix(ROLE))
    return same(given, person.name)
