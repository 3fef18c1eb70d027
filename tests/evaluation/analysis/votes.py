"""Votes that nobody gave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from phi3core.evaluation.judgement import Form, Judgement

OLD, NEW = "phi3/1", "phi3/2"


def vote(item: str, reviewer: str, value: str, left: str = NEW, right: str = OLD, **more: Any) -> Judgement:
    return Judgement(item, reviewer, "pairwise", left, right, value=value, **more)


def votes(*values: str, left: str = NEW, right: str = OLD) -> list[Judgement]:
    """One vote on each item, by one person."""
    return [vote(f"{left} {right} {at}", "ann", value, left, right) for at, value in enumerate(values)]


def table(form: Form, rows: Iterable[Sequence[Any]]) -> list[Judgement]:
    """Reviewers by items; None where one did not judge."""
    return [
        Judgement(f"i{item}", f"r{reviewer}", form, NEW, value=value)
        for reviewer, row in enumerate(rows)
        for item, value in enumerate(row)
        if value is not None
    ]


def alike(random: np.random.Generator, items: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """By item, how many of its votes are won: 6 of 10 in all, and those on one item alike."""
    chance = random.beta(0.6 * 1.5, 0.4 * 1.5, items)
    return random.binomial(each, chance).astype(float), np.full(items, each)
