"""How far reviewers agree: Krippendorff's alpha, by evalica, with an interval over items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from phi3core.evaluation.judgement import Judgement

from .pairs import preferred

RELIABLE, TENTATIVE = 0.8, 0.667
"""Krippendorff's own limits: from the first conclusions can be drawn, from the second tentative ones."""

RESAMPLES = 1000
_SEED = 0
_POINTS = 20  # of the agreement over time


@dataclass(frozen=True)
class Agreement:
    """1: all agree; 0: as by chance. criterion: of a rating. items: those that two or more people judged."""

    value: float
    low: float
    high: float
    items: int
    criterion: str = ""


def agree(judgements: Sequence[Judgement], times: int = RESAMPLES) -> list[Agreement]:
    """The agreement, by criterion; none where no item was judged by two. times: how often items are resampled."""
    found = []
    for criterion, votes in _by_criterion(judgements).items():
        if not (table := _table(votes)).empty:
            distance = _distance(votes)
            low, high = _interval(table, distance, times)
            found.append(Agreement(_alpha(table, distance), low, high, table.shape[1], criterion))
    return found


def alpha_of(votes: Sequence[Judgement]) -> float | None:
    """The agreement of pairwise votes, or on one criterion; None where no item was judged by two."""
    votes = [vote for vote in votes if not vote.check]
    table = _table(votes)
    return None if table.empty else _alpha(table, _distance(votes))


def over_time(judgements: Sequence[Judgement]) -> list[tuple[int, float]]:
    """The agreement of the votes until each of some moments, of all criteria: (milliseconds since 1970, alpha)."""
    votes = sorted((vote for vote in judgements if vote.form != "text" and not vote.check), key=lambda vote: vote.at)
    found = []
    for count in sorted({len(votes) * point // _POINTS for point in range(1, _POINTS + 1)} - {0}):
        tables = [(_table(some), _distance(some)) for some in _by_criterion(votes[:count]).values()]
        alphas = [_alpha(table, distance) for table, distance in tables if not table.empty]
        if alphas:
            found.append((votes[count - 1].at, float(np.mean(alphas))))
    return found


def _by_criterion(judgements: Sequence[Judgement]) -> dict[str, list[Judgement]]:
    found: dict[str, list[Judgement]] = {}
    for vote in judgements:
        if vote.form != "text" and not vote.check:
            found.setdefault(vote.criterion, []).append(vote)
    return found


def _table(votes: Sequence[Judgement]) -> pd.DataFrame:
    """Reviewers by items; only items that two or more judged."""
    names: dict[str, int] = {}
    cells: dict[str, dict[str, float]] = {}
    for vote in votes:
        value = float(vote.value) if vote.form == "rating" else float(names.setdefault(_category(vote), len(names)))
        cells.setdefault(vote.item, {})[vote.reviewer] = value
    return pd.DataFrame({item: pd.Series(row) for item, row in cells.items() if len(row) > 1}, dtype=float)


def _category(vote: Judgement) -> str:
    """What a vote says, in words that are the same on all items: of several versions, each item has two others."""
    said = preferred(vote) if vote.form == "pairwise" else str(vote.value)
    return {min(vote.left, vote.right): "one", max(vote.left, vote.right): "other"}.get(said, said)


def _distance(votes: Sequence[Judgement]) -> Literal["nominal", "ordinal"]:
    return "ordinal" if votes[0].form == "rating" else "nominal"


def _alpha(table: pd.DataFrame, distance: Literal["nominal", "ordinal"]) -> float:
    import evalica

    return float(evalica.alpha(table, distance).alpha)


def _interval(table: pd.DataFrame, distance: Literal["nominal", "ordinal"], times: int) -> tuple[float, float]:
    # evalica's own bootstrap draws pairs of votes, as if those on one item were independent.
    random, count = np.random.default_rng(_SEED), table.shape[1]
    drawn = [_alpha(table.iloc[:, random.integers(0, count, count)], distance) for _ in range(times)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
