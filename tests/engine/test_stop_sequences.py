"""Stop sequences are cut off, wherever the pieces of a text end."""

from __future__ import annotations

import random

import pytest

from phi3core.engine.interface import Options
from phi3core.engine.stop_filter import StopFilter
from phi3core.engine.tokens import TokenEngine
from tests.support.fake_runtime import FakeRuntime


def passed(parts: list[str], *stops: str) -> tuple[list[str], bool]:
    """What comes through of these parts, and whether a stop sequence ended it."""
    cut, out = StopFilter(stops), []
    for part in parts:
        out.append(cut.push(part))
        if cut.found:
            return out, True
    return [*out, cut.rest()], False


def test_text_without_a_stop_sequence_passes_piece_by_piece() -> None:
    assert passed(["a", "b", "c"]) == (["a", "b", "c", ""], False)


def test_a_stop_sequence_is_cut_off_with_all_that_follows() -> None:
    assert passed(["one two ", "STOP three"], "STOP") == (["one two ", ""], True)


def test_a_stop_sequence_over_several_pieces_is_found() -> None:
    assert passed(["one S", "TO", "P two"], "STOP") == (["one ", "", ""], True)


def test_what_only_looked_like_a_stop_sequence_comes_out_at_the_end() -> None:
    assert passed(["one S", "TO"], "STOP") == (["one ", "", "STO"], False)


def test_what_only_looked_like_a_stop_sequence_comes_out_as_soon_as_it_is_none() -> None:
    assert passed(["one S", "TO", "RM"], "STOP") == (["one ", "", "STORM", ""], False)


def test_the_earliest_of_several_stop_sequences_counts() -> None:
    assert passed(["one two three"], "three", "two") == (["one "], True)


def test_only_what_may_become_a_stop_sequence_is_held_back() -> None:
    assert passed(["a long line of text\n", "\n", "more"], "\n\n\n") == (
        ["a long line of text", "", "\n\nmore", ""],
        False,
    )


def test_a_stop_sequence_that_begins_inside_another_beginning_is_found() -> None:
    assert passed(["aa", "ab"], "aab") == (["", "a"], True)


def test_a_longer_stop_sequence_does_not_hold_back_a_shorter_one() -> None:
    assert passed(["x", "ab", "c"], "abcdef", "b") == (["x", "a"], True)


@pytest.mark.parametrize("seed", range(30))
def test_however_text_comes_in_pieces_the_same_comes_out(seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choices("ab", k=40))
    stops = tuple({"".join(chance.choices("ab", k=chance.randrange(3, 9))) for _ in range(3)})
    at = min((text.index(stop) for stop in stops if stop in text), default=None)
    parts, rest = [], text
    while rest:
        length = chance.randrange(1, 5)
        parts.append(rest[:length])
        rest = rest[length:]

    out, found = passed(parts, *stops)

    assert found == (at is not None)
    if len(set(map(len, parts))) == 1 or not found:
        assert "".join(out) == text[:at]
    else:  # a stop sequence that is complete first may begin later than one that is complete later
        assert text.startswith("".join(out))


def test_a_model_without_an_end_token_follows_no_schema() -> None:
    assert "json_schema" in TokenEngine(FakeRuntime(), Options(), budget=100_000).supports
    assert "json_schema" not in TokenEngine(FakeRuntime(eos=frozenset()), Options(), budget=100_000).supports
