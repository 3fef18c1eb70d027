"""How many more votes would settle which of two versions is preferred."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .pairs import Pairs

_REACH = 1.96 + 0.84  # standard errors: an interval of 95 % that leaves the middle four times out of five
_MOST = 100_000
_SMALL = 0.005  # a difference that nobody would see


@dataclass(frozen=True)
class Needed:
    """settled: the interval of the rate leaves the middle. Else what would settle it, if things are as they seem.

    votes: more votes on the same items; None where they can't, because the items themselves differ. items: more items
    with as many votes each; None where the two seem to be as good as each other.
    """

    first: str
    second: str
    settled: bool
    votes: int | None = None
    items: int | None = None


def needed(pairs: Pairs, first: str, second: str) -> Needed | None:
    """What would settle the two; None where there is no vote between them."""
    rate = pairs.rate(first, second)
    if rate is None:
        return None
    if rate.low > 0.5 or rate.high < 0.5:
        return Needed(first, second, True)
    one, two = pairs.refs.index(first), pairs.refs.index(second)
    won, counts = pairs.wins[:, one, two], pairs.wins[:, one, two] + pairs.wins[:, two, one]
    won, counts = won[counts > 0], counts[counts > 0]
    items, each = len(counts), float(counts.mean())
    value = (won.sum() + 1) / (counts.sum() + 2)  # a few votes that all say the same are not certainty
    apart = abs(value - 0.5)
    if apart < _SMALL:
        return Needed(first, second, False)
    target = (apart / _REACH) ** 2
    within = _within(won, counts, value)
    # One vote an item does not tell the two apart; then all of it is taken for the items'.
    observed = float(np.var(won / counts, ddof=1)) if items > 1 else 0.0
    total = max(observed, value * (1 - value) / each if observed == 0 else 0.0)
    between = max(0.0, total - within * float((1 / counts).mean()))
    more_items = math.ceil(total / target) - items
    left = items * target - between
    more_votes = math.ceil((within / left - each) * items) if within > 0 and left > 0 else None
    return Needed(first, second, False, _bounded(more_votes), _bounded(more_items))


def _within(won: np.ndarray, counts: np.ndarray, value: float) -> float:
    """The variance of one vote on one item, by the items with several."""
    several = counts > 1
    if not several.any():
        return 0.0
    shares = won[several] / counts[several]
    found = float((counts[several] * shares * (1 - shares)).sum() / (counts[several] - 1).sum())
    return found or value * (1 - value)


def _bounded(count: int | None) -> int | None:
    return None if count is None or count > _MOST else max(1, count)
