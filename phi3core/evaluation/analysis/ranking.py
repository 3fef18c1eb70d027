"""Versions ranked by pairwise votes: Bradley and Terry's model, fitted by evalica, with intervals over items.

The model has no finite answer where a version never loses (or a group never loses to the others): evalica then returns
whatever it had when it gave up. So it is fitted only among versions that are connected both ways, and the others are
told to be above or below without bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from phi3core.evaluation.statistics import Mean

from .pairs import Pairs
from .shares import share

RESAMPLES = 1000


@dataclass(frozen=True)
class Rank:
    """A version's place. chance: that it is preferred over one of the others, by the fitted model, with its interval.

    strength: in log odds, against the mean of the versions that it is comparable with; None where there is none.
    bound: ``above``, it never lost; ``below``, it never won: no strength is too high, or too low, to have done that.
    """

    ref: str
    chance: Mean
    strength: float | None
    bound: Literal["", "above", "below"] = ""


def rank(pairs: Pairs, times: int = RESAMPLES) -> list[Rank]:
    """The versions, the best first. times: how often items are resampled for the intervals."""
    if len(pairs.refs) < 2:
        return []
    total = pairs.total
    chances = chances_of(total)
    drawn = np.array([chances_of(wins) for wins in pairs.resampled(times)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    found = []
    for at, ref in enumerate(pairs.refs):
        own = pairs.wins[:, at, :].sum(axis=1), pairs.wins[:, at, :].sum(axis=1) + pairs.wins[:, :, at].sum(axis=1)
        items = int((own[1] > 0).sum())
        bound: Literal["", "above", "below"] = ""
        if not total[:, at].any() or not total[at].any():
            # Its resamples are all alike: what is known is how likely so many wins in a row are.
            bound = "below" if total[:, at].any() else "above"
            by_votes = share(own[0].tolist(), own[1].tolist())
            chance = Mean(float(chances[at]), by_votes.low, by_votes.high, items)
        else:
            chance = Mean(float(chances[at]), float(low[at]), float(high[at]), items)
        found.append(Rank(ref, chance, strengths_of(total)[at], bound))
    return sorted(found, key=lambda one: -one.chance.value)


def chances_of(wins: np.ndarray) -> np.ndarray:
    """By version, the chance to be preferred over one of the others, each as likely.

    Args:
        wins: by ref and ref, the votes for the first over the second.
    """
    count = len(wins)
    groups, reach = _groups(wins)
    chance = np.where(reach & ~reach.T, 1.0, np.where(reach.T & ~reach, 0.0, 0.5))
    for members in groups:
        logs = _fit(wins[np.ix_(members, members)])
        chance[np.ix_(members, members)] = 1 / (1 + np.exp(logs[None, :] - logs[:, None]))
    np.fill_diagonal(chance, 0.0)
    return np.asarray(chance.sum(axis=1) / (count - 1))


def strengths_of(wins: np.ndarray) -> list[float | None]:
    """By version, its strength in log odds against the mean of those that it is comparable with."""
    found: list[float | None] = [None] * len(wins)
    for members in _groups(wins)[0]:
        for at, value in zip(members, _fit(wins[np.ix_(members, members)])):
            found[int(at)] = float(value)
    return found


def islands(pairs: Pairs) -> list[list[str]]:
    """The versions in groups between which there is no vote, so that nothing ranks one against the other."""
    from scipy.sparse.csgraph import connected_components

    count, labels = connected_components(pairs.total, directed=False)
    return [[ref for ref, label in zip(pairs.refs, labels) if label == group] for group in range(count)]


def _groups(wins: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The groups of two or more versions that are connected both ways, and which version leads to which by wins."""
    reach = wins > 0
    for _ in range(len(wins).bit_length()):  # each step doubles the length of the ways
        reach = reach | (reach.astype(int) @ reach.astype(int) > 0)
    both = (reach & reach.T) | np.eye(len(wins), dtype=bool)
    members = {tuple(np.flatnonzero(row)) for row in both}
    return [np.array(group) for group in sorted(members) if len(group) > 1], reach


def _fit(wins: np.ndarray) -> np.ndarray:
    """The log strengths of versions that are connected both ways; their mean is 0."""
    import evalica

    won, lost = np.nonzero(wins)
    fitted = evalica.bradley_terry(
        won.tolist(), lost.tolist(), [evalica.Winner.X] * len(won), weights=wins[won, lost].tolist(), limit=1000
    )
    logs = np.log(fitted.scores.sort_index().to_numpy())
    return np.asarray(logs - logs.mean())
