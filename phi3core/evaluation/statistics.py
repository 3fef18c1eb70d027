"""How sure a difference is: intervals and paired tests over the items of a prompt set.

Items are resampled, never single scores: the items are the sample, and both versions answered the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .scorers import Score

_RESAMPLES = 2000
_PIECE = 100  # resamples
_SEED = 0  # the same interval whenever it is looked at


@dataclass(frozen=True)
class Mean:
    """A mean over items with its 95 % interval. count: of items. Shares are between 0 and 1."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Difference:
    """One version against another by one scorer, over the items that both have a score of.

    better, worse, same: items on which the first one's score is higher, lower, equal. low, high: the 95 % interval of
    the mean difference. p: of McNemar's exact test (true or false) or Wilcoxon's signed rank test (numbers), after
    Holm's correction where several scorers were tested together.
    """

    mean: float
    low: float
    high: float
    better: int
    worse: int
    same: int
    p: float

    @property
    def sure(self) -> bool:
        """Whether it would come about by chance less than once in twenty times."""
        return self.p < 0.05


def mean(scores: Sequence[Score]) -> Mean:
    """The mean of at least one score: a share with Wilson's interval, numbers with one of 2,000 resamples of the items.

    Resamples of a share of none or all say that it is certain, after three items as after three thousand.
    """
    values = np.asarray(scores, dtype=float)
    low, high = _interval_of_share(values) if isinstance(scores[0], bool) else _interval(values)
    return Mean(float(values.mean()), low, high, len(values))


def compare(scores: Mapping[str, Sequence[tuple[Score, Score]]]) -> dict[str, Difference]:
    """Compare two versions by several scorers, with Holm's correction over them.

    Args:
        scores: by scorer, the pairs of both versions' scores of the same item; scorers without a pair are left out.
    """
    found = {name: _difference(pairs) for name, pairs in scores.items() if pairs}
    return _holm(found)


def _difference(pairs: Sequence[tuple[Score, Score]]) -> Difference:
    differences = np.asarray([float(one) - float(other) for one, other in pairs])
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    low, high = _interval(differences)
    p = _p_of_counts(better, worse) if isinstance(pairs[0][0], bool) else _p_of_ranks(differences)
    return Difference(float(differences.mean()), low, high, better, worse, len(pairs) - better - worse, p)


def _p_of_counts(better: int, worse: int) -> float:
    """McNemar's exact test: whether as many items got better as worse."""
    from scipy.stats import binomtest

    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def _p_of_ranks(differences: np.ndarray) -> float:
    """Wilcoxon's signed rank test; equal scores count for neither side."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue) if (differences != 0).any() else 1.0


def _interval_of_share(values: np.ndarray) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(int(values.sum()), len(values)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _interval(values: np.ndarray) -> tuple[float, float]:
    drawn = _resamples(len(values))
    # Piece by piece: as numbers of eight bytes 2,000 resamples of 5,000 items take 80 MB.
    means = [drawn[at : at + _PIECE].astype(float) @ values for at in range(0, _RESAMPLES, _PIECE)]
    low, high = np.percentile(np.concatenate(means) / len(values), [2.5, 97.5])
    return float(low), float(high)


@lru_cache(maxsize=4)  # scorers that apply to the same number of items share them: drawing them takes the longest
def _resamples(count: int) -> np.ndarray:
    """How often each of so many items was drawn, one resample a row."""
    random = np.random.default_rng(_SEED)
    drawn = np.empty((_RESAMPLES, count), dtype=np.uint8)
    for at in range(_RESAMPLES):
        drawn[at] = np.bincount(random.integers(0, count, count), minlength=count)
    return drawn


def _holm(found: Mapping[str, Difference]) -> dict[str, Difference]:
    corrected: dict[str, Difference] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(found, key=lambda name: found[name].p)):
        highest = max(highest, min(1.0, found[name].p * (len(found) - rank)))
        corrected[name] = replace(found[name], p=highest)
    return {name: corrected[name] for name in found}
