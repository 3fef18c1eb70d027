"""Shares of votes with intervals that know how few items there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phi3core.evaluation.statistics import Mean


def share(won: Sequence[float], votes: Sequence[float]) -> Mean:
    """The share of votes that were won, with its 95 % interval over items: Korn and Graubard's.

    It is Clopper and Pearson's interval for as many votes as would tell as much if they were independent. Where all
    items say the same, each counts as one vote: ten of ten is not certainty, which resampling would call it.

    Args:
        won: by item, the votes that were won; a tie is half a vote.
        votes: by item, the votes; at least one item has one.
    """
    from scipy.special import betaincinv

    y, n = np.asarray(won, dtype=float), np.asarray(votes, dtype=float)
    value, items = float(y.sum() / n.sum()), int((n > 0).sum())
    size = _independent_votes(y[n > 0], n[n > 0], value)
    low = float(betaincinv(value * size, size - value * size + 1, 0.025)) if value > 0 else 0.0
    high = float(betaincinv(value * size + 1, size - value * size, 0.975)) if value < 1 else 1.0
    return Mean(value, low, high, items)


def _independent_votes(y: np.ndarray, n: np.ndarray, value: float) -> float:
    """How many independent votes tell as much as these, which are alike within an item."""
    from scipy.special import stdtrit

    items, votes = len(n), float(n.sum())
    if items < 2:
        return 1.0
    variance = items / (items - 1) * float(((y - value * n) ** 2).sum()) / votes**2
    if variance == 0:
        return float(items)
    few = (stdtrit(max(votes - 1, 1), 0.975) / stdtrit(items - 1, 0.975)) ** 2
    return float(min(max(value * (1 - value) / variance * few, 1.0), votes))
