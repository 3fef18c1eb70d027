"""How sure a difference is."""

from __future__ import annotations

import random

import pytest

from phi3core.evaluation import statistics


def test_a_mean_has_an_interval_around_it() -> None:
    found = statistics.mean([True] * 30 + [False] * 10)

    assert (found.value, found.count) == (0.75, 40)
    assert 0.57 < found.low < 0.68
    assert 0.82 < found.high < 0.93


def test_a_share_of_none_or_all_is_no_certainty() -> None:
    none, all_of_them = statistics.mean([False] * 5), statistics.mean([True] * 5)

    assert (none.low, all_of_them.high) == (0, 1)
    assert none.high == pytest.approx(0.434, abs=0.001)
    assert all_of_them.low == pytest.approx(0.566, abs=0.001)
    assert statistics.mean([True] * 500).low > 0.99


def test_the_interval_holds_the_true_share_about_95_times_of_100() -> None:
    drawn = random.Random(4)
    held = 0
    for _ in range(200):
        found = statistics.mean([drawn.random() < 0.7 for _ in range(60)])
        held += found.low <= 0.7 <= found.high

    assert 180 <= held <= 199


def test_a_version_that_got_better_on_twelve_and_worse_on_three_surely_did() -> None:
    pairs = [(True, False)] * 12 + [(False, True)] * 3 + [(True, True)] * 25

    found = statistics.compare({"contains": pairs})["contains"]

    assert (found.better, found.worse, found.same) == (12, 3, 25)
    assert found.mean == pytest.approx(9 / 40)
    assert found.p == pytest.approx(0.0352, abs=0.0001)  # McNemar, exact
    assert found.sure


def test_several_scorers_are_corrected_for_one_another() -> None:
    pairs = [(True, False)] * 12 + [(False, True)] * 3

    found = statistics.compare({"contains": pairs, "exact": pairs, "number": []})

    assert found.keys() == {"contains", "exact"}
    assert [one.p for one in found.values()] == pytest.approx([0.0704, 0.0704], abs=0.0001)
    assert not any(one.sure for one in found.values())


def test_numbers_are_compared_by_their_ranks() -> None:
    pairs = [(0.1 * number + 0.05, 0.1 * number) for number in range(10)]

    found = statistics.compare({"similarity": pairs, "other": [(0.5, 0.5)] * 10})

    assert found["similarity"].p < 0.01
    assert (found["similarity"].better, found["similarity"].worse) == (10, 0)
    assert (found["other"].p, found["other"].same) == (1.0, 10)
