"""How far reviewers agree."""

from __future__ import annotations

import pytest

from phi3core.evaluation.analysis.agreement import agree, over_time

from .votes import table, vote

_KRIPPENDORFF = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def test_it_is_krippendorffs_in_his_own_example() -> None:
    names = [[None if value is None else str(value) for value in row] for row in _KRIPPENDORFF]
    (nominal,) = agree(table("pass", names), 50)
    (ordinal,) = agree(table("rating", _KRIPPENDORFF), 50)

    assert nominal.value == pytest.approx(0.743, abs=0.001)
    assert ordinal.value == pytest.approx(0.815, abs=0.001)
    assert nominal.items == 11  # the twelfth has one judgement
    assert nominal.low < 0.743 < nominal.high


def test_items_that_one_person_judged_say_nothing_of_it() -> None:
    assert agree([vote("a", "ann", "left"), vote("b", "ben", "left")]) == []


def test_two_who_agree_on_a_version_agree_whichever_side_it_stands_on_in_the_items() -> None:
    given = [
        vote(f"i{at}", who, "left", *sides)
        for at, sides in enumerate([("m/1", "m/2"), ("m/2", "m/1"), ("m/1", "m/3"), ("m/3", "m/2")])
        for who in ("ann", "ben")
    ]

    assert agree(given, 10)[0].value == pytest.approx(1)


def test_each_criterion_of_a_rating_has_its_own() -> None:
    from dataclasses import replace

    rows = table("rating", [(1, 5, 3), (1, 5, 3)])
    other = [replace(one, criterion="style", value=6 - int(one.value) if one.reviewer == "r1" else one.value)
             for one in rows]  # fmt: skip
    found = {one.criterion: one.value for one in agree([*rows, *other], 10)}

    assert found[""] == pytest.approx(1)
    assert found["style"] < 0.3


def test_it_is_told_over_time() -> None:
    apart = [vote("a", "ann", "left", at=1), vote("a", "ben", "right", at=2)]
    alike = [vote(f"b{at}", who, "left", at=10 + at) for at in range(10) for who in ("ann", "ben")]
    found = over_time([*alike, *apart])

    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert found[0][1] <= 0 < found[-1][1] + 0.2
