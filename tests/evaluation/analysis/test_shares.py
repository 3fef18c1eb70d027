"""Intervals of shares of votes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from phi3core.evaluation.analysis.pairs import Pairs
from phi3core.evaluation.analysis.shares import share

from .votes import alike


def test_votes_on_different_items_have_clopper_and_pearsons_interval() -> None:
    found = share([1] * 30 + [0] * 10, [1] * 40)
    exact = binomtest(30, 40).proportion_ci(method="exact")

    assert found.value == 0.75
    assert (found.low, found.high) == (pytest.approx(exact.low, abs=0.01), pytest.approx(exact.high, abs=0.01))


def test_ten_of_ten_is_no_certainty_and_five_votes_on_each_make_it_none() -> None:
    one, five = share([1] * 10, [1] * 10), share([5] * 10, [5] * 10)

    assert (one.value, one.high) == (1, 1)
    assert one.low == pytest.approx(0.69, abs=0.01)
    assert five == one


def test_one_item_says_next_to_nothing_however_many_votes_it_has() -> None:
    found = share([20], [20])

    assert (found.low, found.high) == (pytest.approx(0.025), 1)


def test_an_interval_over_items_holds_the_truth_95_times_of_100_and_one_over_votes_does_not() -> None:
    random = np.random.default_rng(3)
    held = by_votes = 0
    for _ in range(300):
        won, votes = alike(random, 40, 5)
        found = share(won.tolist(), votes.tolist())
        held += found.low <= 0.6 <= found.high
        naive = won.sum() / 200
        by_votes += abs(naive - 0.6) <= 1.96 * (naive * (1 - naive) / 200) ** 0.5

    assert 278 <= held <= 297  # 95 % of 300 is 285
    assert by_votes < 262  # 87 %


def test_resampled_items_hold_the_truth_95_times_of_100() -> None:
    random = np.random.default_rng(5)
    held = 0
    for _ in range(150):
        won, votes = alike(random, 40, 5)
        wins = np.zeros((40, 2, 2))
        wins[:, 0, 1], wins[:, 1, 0] = won, votes - won
        drawn = [total[0, 1] / total.sum() for total in Pairs(("a", "b"), ("i",) * 40, wins).resampled(200)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        held += low <= 0.6 <= high

    assert 134 <= held <= 149
