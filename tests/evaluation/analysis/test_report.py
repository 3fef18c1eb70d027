"""What else the votes say: bias, single voters, what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from phi3core.evaluation.analysis import report
from phi3core.evaluation.analysis.needed import needed
from phi3core.evaluation.analysis.pairs import count_pairs
from phi3core.evaluation.judgement import Judgement

from .votes import NEW, OLD, alike, table, vote, votes


def analyse(judgements: list[Judgement], times: int = 10) -> report.Report:
    return report.analyse(tuple(judgements), times)


def test_the_answer_that_is_drawn_first_wins_too_often() -> None:
    given = [
        vote(f"i{at}", "ann", "left" if at % 2 else "right", shown_first=NEW if at % 2 else OLD) for at in range(40)
    ]
    found = analyse([*given, vote("tie", "ann", "tie", shown_first=NEW)]).first_shown

    assert found is not None
    assert (found.value, found.count) == (1, 40)
    assert found.low > 0.9


def test_one_voter_who_decides_the_result_is_named() -> None:
    given = [vote(f"i{at}", who, "left") for at in range(2) for who in ("ann", "ben")]
    given += [vote(f"i{at}", "eve", "right") for at in range(9)]
    voters = {one.name: one for one in analyse(given).voters}

    assert voters["eve"].first_without == NEW
    assert voters["ann"].first_without == OLD
    assert voters["eve"].swing > voters["ann"].swing


def test_a_vote_on_several_criteria_is_one() -> None:
    given = [
        Judgement(item, "ann", "rating", NEW, value=4, criterion=name) for item in "ab" for name in ("helpful", "true")
    ]

    assert [(one.name, one.votes) for one in analyse(given).voters] == [("ann", 2)]


def test_versions_that_share_the_first_place_have_no_leader() -> None:
    assert analyse(votes("left", "left", "right")).leader == NEW
    assert analyse(votes("tie", "left", "right")).leader == ""


def test_attention_is_checked_by_the_version_that_is_chosen() -> None:
    given = [vote("a", "ann", "left"), vote("a", "ann", "right", OLD, NEW, check=True)]  # the same, sides changed
    given += [vote("a", "ben", "left"), vote("a", "ben", "right", check=True), vote("b", "ben", "left", check=True)]
    voters = {one.name: (one.checks, one.failed) for one in analyse(given).voters}

    assert voters == {"ann": (1, 0), "ben": (1, 1)}


def test_items_on_which_people_differ_are_listed_the_most_divided_first() -> None:
    given = [vote("same", who, "left") for who in ("ann", "ben", "cy")]
    given += [vote("one against two", who, value) for who, value in (("ann", "left"), ("ben", "left"), ("cy", "tie"))]
    given += [vote("all", "ann", "left", comment="Shorter."), vote("all", "ben", "right"), vote("all", "cy", "tie")]
    found = analyse(given).disagreements

    assert [(one.item, round(one.share, 2)) for one in found] == [("all", 1.0), ("one against two", 0.67)]
    assert found[0].said == (("ann", NEW), ("ben", OLD), ("cy", "tie"))
    assert found[0].comments == (("ann", "Shorter."),)


def test_a_clear_result_needs_no_more_votes() -> None:
    found = analyse(votes(*["left"] * 30, *["right"] * 5)).needed

    assert found is not None
    assert found.settled


def test_as_many_items_more_as_are_said_to_be_needed_settle_it_mostly() -> None:
    random = np.random.default_rng(1)
    given = [
        vote(f"i{item}", f"r{reviewer}", "left" if reviewer < won else "right")
        for item, won in enumerate(alike(random, 20, 5)[0])
        for reviewer in range(5)
    ]
    pairs = count_pairs(given)
    found = needed(pairs, NEW, OLD)
    assert found is not None
    assert not found.settled
    assert found.items

    settled = 0
    for _ in range(40):  # reviews of as many items as it says, which are like these
        drawn = random.integers(0, 20, 20 + found.items)
        wins = pairs.wins[drawn]
        rate = type(pairs)(pairs.refs, tuple(map(str, range(len(drawn)))), wins).rate(NEW, OLD)
        settled += rate is not None and (rate.low > 0.5 or rate.high < 0.5)
    assert 24 <= settled <= 39  # four of five


def test_two_that_are_as_good_as_each_other_are_not_settled_by_more() -> None:
    found = analyse(votes(*["left", "right"] * 20)).needed

    assert found is not None
    assert (found.settled, found.votes, found.items) == (False, None, None)


def test_ratings_have_means_and_passes_shares() -> None:
    ratings = analyse(table("rating", [(1, 5, 3), (2, 5, 3)]))
    passes = analyse(table("pass", [("pass", "fail"), ("pass", "pass")]))

    assert ratings.means[NEW, ""].value == pytest.approx((1.5 + 5 + 3) / 3)
    assert passes.means[NEW, ""].value == 0.75
    assert (ratings.ranking, ratings.rates, ratings.needed) == ((), {}, None)


def test_free_text_and_no_votes_at_all_say_nothing() -> None:
    text = analyse(table("text", [("Nice.", "Too long.")]))

    assert (text.votes, text.people, text.agreement, text.disagreements) == (2, 1, (), ())
    assert analyse([]).votes == 0
