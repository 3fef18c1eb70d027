"""Versions ranked by votes."""

from __future__ import annotations

import math

import pytest

from phi3core.evaluation.analysis.pairs import count_pairs
from phi3core.evaluation.analysis.ranking import islands, rank

from .votes import NEW, OLD, vote, votes


def test_two_versions_differ_by_the_log_odds_of_their_votes() -> None:
    best, other = rank(count_pairs(votes(*["left"] * 30, *["right"] * 10)), 50)

    assert (best.ref, other.ref) == (NEW, OLD)
    assert best.chance.value == pytest.approx(0.75, abs=1e-3)
    assert best.strength is not None
    assert other.strength is not None
    assert best.strength - other.strength == pytest.approx(math.log(3), abs=1e-3)
    assert best.chance.low < 0.75 < best.chance.high


def test_a_tie_is_half_a_vote_for_either_and_so_is_that_both_are_bad() -> None:
    found = rank(count_pairs(votes("left", "right", "tie", "tie", "bad")), 20)

    assert [one.chance.value for one in found] == pytest.approx([0.5, 0.5])


def test_three_versions_have_the_strengths_of_the_model() -> None:
    # Strengths 4, 2 and 1: of six votes between two, as many for each as they say.
    given = votes(*["left"] * 4, *["right"] * 2, left="a", right="b")
    given += votes(*["left"] * 4, *["right"] * 2, left="b", right="c")
    given += votes(*["left"] * 8, *["right"] * 2, left="a", right="c")
    found = {one.ref: one for one in rank(count_pairs(given), 20)}

    strengths = [found[ref].strength or 0.0 for ref in "abc"]
    assert strengths[0] - strengths[1] == pytest.approx(math.log(2), abs=1e-3)
    assert strengths[1] - strengths[2] == pytest.approx(math.log(2), abs=1e-3)
    assert found["a"].chance.value == pytest.approx((4 / 6 + 4 / 5) / 2, abs=1e-3)


def test_a_version_that_never_loses_is_above_without_bound_and_not_a_tie() -> None:
    best, other = rank(count_pairs(votes(*["left"] * 10)), 20)

    assert (best.ref, best.bound, best.strength, best.chance.value) == (NEW, "above", None, 1)
    assert (other.ref, other.bound, other.strength, other.chance.value) == (OLD, "below", None, 0)
    assert best.chance.low == pytest.approx(0.69, abs=0.01)  # and not 1, as it is in each resample


def test_a_version_that_never_loses_leaves_the_others_comparable() -> None:
    given = votes("left", "left", left="a", right="b") + votes("left", "right", "left", left="b", right="c")
    found = rank(count_pairs(given), 20)

    assert [(one.ref, one.bound) for one in found] == [("a", "above"), ("b", ""), ("c", "")]
    strengths = [one.strength for one in found[1:] if one.strength is not None]
    assert strengths[0] - strengths[1] == pytest.approx(math.log(2), abs=1e-3)


def test_versions_between_which_there_is_no_vote_are_told_apart() -> None:
    given = count_pairs(votes("left", left="a", right="b") + votes("left", left="c", right="d"))

    assert islands(given) == [["a", "b"], ["c", "d"]]


def test_a_repeated_item_counts_once() -> None:
    given = [*votes("left", "right"), vote(f"{NEW} {OLD} 0", "ann", "left", check=True)]

    assert count_pairs(given).total.sum() == 2
