"""What a reviewer may see of an item: the question and the answers, and nothing that tells whose they are.

The order of two answers is drawn for each reviewer and item, and again for a repetition. Choices are made by what is
shown, and translated here, so that no page knows which version is which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from phi3core.access.roles import Person
from phi3core.evaluation.judgement import Form
from phi3core.settings import Settings
from phi3core.traces.acts import Act, Value

from .board import board_of
from .item_state import same
from .items import Answer, ReviewItem
from .queue import Turn
from .review import Review

_SIDES = {"left": 0, "right": 1}


@dataclass(frozen=True)
class Sight:
    """An item as one reviewer sees it. key: what stands for it in the page; it tells nothing.

    messages: what was asked, as OpenAI has them. texts: the answers, in this reviewer's order. criteria: of a rating.
    hint: what a reader should look at, in words.
    """

    key: str
    form: Form
    messages: tuple[Mapping[str, str], ...]
    texts: tuple[str, ...]
    criteria: tuple[str, ...]
    hint: str


@dataclass(frozen=True)
class Opinion:
    """What another reviewer said of an item, as this reader's order has it: ``first`` and ``second`` for the sides."""

    reviewer: str
    values: Mapping[str, Value]
    comment: str


def look(review: Review, turn: Turn, person: Person) -> Sight:
    """The item as the person may see it."""
    key = hashlib.sha256(_about(review, turn.item, person.name, turn.check)).hexdigest()[:16]
    texts = tuple(answer.text for answer in in_order(review, turn.item, person.name, turn.check))
    return Sight(key, review.plan.form, turn.item.messages, texts, review.plan.criteria, turn.item.criteria)


def in_order(review: Review, item: ReviewItem, reviewer: str, check: bool = False) -> list[Answer]:
    """The answers in the order of this reviewer."""
    return list(item.answers)[:: -1 if _is_turned(review, item, reviewer, check) else 1]


def kept_value(review: Review, turn: Turn, person: Person, value: Value) -> Value:
    """A choice by what is shown, ``first`` or ``second``, as it is kept: ``left`` or ``right``; others as they are."""
    if value not in ("first", "second"):
        return value
    turned = _is_turned(review, turn.item, person.name, turn.check)
    return "left" if (value == "first") != turned else "right"


def read_opinions(settings: Settings, review: Review, item: ReviewItem, person: Person) -> list[Opinion]:
    """What others said of an item: nothing before the person has voted on it, unless the review is closed."""
    state = board_of(settings, review).state(item.id)
    if state.vote_of(person.name) is None and not review.closed:
        return []
    turned = _is_turned(review, item, person.name, False)
    return [_opinion(act, turned) for act in state.counted if not same(act.reviewer, person.name)]


def shown_value(review: Review, item: ReviewItem, person: Person, value: Value) -> Value:
    """What is kept, ``left`` or ``right``, by what this reviewer is shown: ``first`` or ``second``."""
    return _shown(value, _is_turned(review, item, person.name, False))


def _opinion(act: Act, turned: bool) -> Opinion:
    return Opinion(act.reviewer, {name: _shown(value, turned) for name, value in act.values.items()}, act.comment)


def _shown(value: Value, turned: bool) -> Value:
    if value not in _SIDES:
        return value
    return "second" if (value == "right") != turned else "first"


def _is_turned(review: Review, item: ReviewItem, reviewer: str, check: bool) -> bool:
    return bool(hashlib.sha256(_about(review, item, reviewer, check) + b" side").digest()[0] & 1)


def _about(review: Review, item: ReviewItem, reviewer: str, check: bool) -> bytes:
    return f"{review.id} {item.id} {reviewer.casefold()} {check}".encode(errors="surrogatepass")
