"""What one reviewer said of one item of a review, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["pairwise", "rating", "pass", "text"]
"""How a review asks: which of two is better, one to five on named criteria, pass or fail, or free text."""


@dataclass(frozen=True)
class Judgement:
    """What one reviewer said of one item of a review.

    item: its id. reviewer: their name. form: of the review. left, right: the versions' refs as the item holds them
    (right empty unless pairwise). shown_first: the ref that was drawn first. criterion: of a rating. value: pairwise
    "left", "right", "tie" or "bad"; pass "pass" or "fail"; rating 1 to 5; text: the free text. at: in milliseconds
    since 1970. check: the item is a repeated one that checks attention.
    """

    item: str
    reviewer: str
    form: Form
    left: str
    right: str = ""
    shown_first: str = ""
    criterion: str = ""
    value: str | int = ""
    comment: str = ""
    at: int = 0
    check: bool = False
