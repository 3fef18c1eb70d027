"""Pairwise votes as counts: by item, how often each version was preferred over each other one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from phi3core.evaluation.judgement import Judgement
from phi3core.evaluation.statistics import Mean

from .shares import share

_SEED = 0  # the same interval whenever it is looked at


@dataclass(frozen=True)
class Pairs:
    """The votes of a review: refs are the versions, sorted; items their ids.

    wins: by item, ref and ref, the votes for the first over the second. A tie, and that both are bad, is half a vote
    for either.
    """

    refs: tuple[str, ...]
    items: tuple[str, ...]
    wins: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """By ref and ref, over all items."""
        return np.asarray(self.wins.sum(axis=0))

    def rate(self, ref: str, other: str) -> Mean | None:
        """The share of votes that preferred one over the other; None where there is no vote between them."""
        one, two = self.refs.index(ref), self.refs.index(other)
        won, votes = self.wins[:, one, two], self.wins[:, one, two] + self.wins[:, two, one]
        return share(won.tolist(), votes.tolist()) if votes.sum() else None

    def resampled(self, times: int) -> Iterator[np.ndarray]:
        """`total` over as many items, drawn with replacement, so many times."""
        random, count = np.random.default_rng(_SEED), len(self.items)
        flat = self.wins.reshape(count, -1)
        for _ in range(times):
            drawn = np.bincount(random.integers(0, count, count), minlength=count)
            yield (drawn @ flat).reshape(self.wins.shape[1:])


def count_pairs(judgements: Iterable[Judgement]) -> Pairs:
    """Count the pairwise votes; those that check attention are left out, they are on an item a second time."""
    votes = [vote for vote in judgements if vote.form == "pairwise" and not vote.check]
    refs = tuple(sorted({ref for vote in votes for ref in (vote.left, vote.right)}))
    items = tuple(dict.fromkeys(vote.item for vote in votes))
    wins = np.zeros((len(items), len(refs), len(refs)))
    at_item, at_ref = _places(items), _places(refs)
    for vote in votes:
        item, left, right = at_item[vote.item], at_ref[vote.left], at_ref[vote.right]
        for_left = {"left": 1.0, "right": 0.0}.get(str(vote.value), 0.5)
        wins[item, left, right] += for_left
        wins[item, right, left] += 1 - for_left
    return Pairs(refs, items, wins)


def preferred(vote: Judgement) -> str:
    """The version that a pairwise vote prefers; else what it says: ``tie`` or ``bad``."""
    return {"left": vote.left, "right": vote.right}.get(str(vote.value), str(vote.value))


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: at for at, name in enumerate(names)}
