"""How a prompt is read: in which pieces, and how finely a machine lets it be cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest

from phi3core.engine.interface import Options, Piece
from phi3core.engine.prefill import grain_of, piece_for, pieces
from phi3core.engine.tokens import TokenEngine
from tests.support.fake_runtime import SAMPLED, FakeRuntime, ask, cold, letters, never


@pytest.mark.parametrize("loose", [True, False])
@pytest.mark.parametrize("size", [8, 16, 64])
def test_pieces_follow_each_other_and_none_is_a_single_token(size: int, loose: bool) -> None:
    grain = 1 if loose else size
    for start in range(200):
        for end in range(start + 2, 200):
            cuts = list(pieces(start, end, size, grain))
            assert (cuts[0][0], cuts[-1][1]) == (start, end)
            assert all(before[1] == after[0] for before, after in pairwise(cuts))
            assert all(2 <= last - first <= size + 2 for first, last in cuts), (start, end, cuts)


def test_pieces_are_cut_at_fixed_places_wherever_reading_begins_if_it_matters() -> None:
    assert list(pieces(0, 200, 64, 64)) == [(0, 64), (64, 128), (128, 192), (192, 200)]
    assert list(pieces(128, 200, 64, 64)) == [(128, 192), (192, 200)]
    assert list(pieces(100, 200, 64, 64)) == [(100, 128), (128, 192), (192, 200)]


def test_where_it_does_not_matter_a_short_question_is_one_piece() -> None:
    assert list(pieces(100, 160, 64, 1)) == [(100, 160)]
    assert list(pieces(100, 200, 64, 1)) == [(100, 164), (164, 200)]


def test_nothing_to_read_is_no_piece() -> None:
    assert list(pieces(5, 5, 64, 64)) == []


@pytest.mark.parametrize(
    ("length", "read"),
    [
        (1, [1]),
        (2, [1, 1]),
        (3, [2, 1]),
        (64, [63, 1]),
        (65, [64, 1]),
        (66, [65, 1]),
        (129, [64, 64, 1]),
        (130, [64, 65, 1]),
        (131, [64, 64, 2, 1]),
    ],
)
def test_a_prompt_is_read_in_pieces_and_its_last_token_alone(length: int, read: list[int]) -> None:
    runtime = FakeRuntime()
    engine = TokenEngine(runtime, Options())
    runtime.log.clear()

    assert ask(engine, letters(length), SAMPLED.but(max_tokens=1)).prompt_tokens == length

    assert runtime.log == read


def test_between_the_pieces_of_a_prompt_others_get_their_turn(engine: TokenEngine) -> None:
    items = list(engine.stream(letters(300), SAMPLED, never))

    assert items[:6] == [None] * 6  # its memory, and five pieces
    assert isinstance(items[6], Piece)


@pytest.mark.parametrize(("kernels", "read"), [("loose", [8, 8, 8, 8, 7, 1]), ("strict", [39, 1])])
def test_a_slow_machine_reads_in_smaller_pieces_unless_the_answer_depends_on_them(
    kernels: Literal["loose", "strict"], read: list[int]
) -> None:
    runtime = FakeRuntime(kernels)
    engine = TokenEngine(runtime, Options())
    runtime.pace = 0.02
    ask(engine, letters(20), SAMPLED.but(max_tokens=1))
    runtime.log.clear()

    answer = ask(engine, letters(40, seed=2), SAMPLED.but(max_tokens=1))

    assert runtime.log == read
    runtime.pace = 0.0
    assert answer == cold(engine, letters(40, seed=2), SAMPLED.but(max_tokens=1))


def test_kernels_that_round_by_the_piece_are_found_out() -> None:
    assert grain_of(FakeRuntime("loose")) == 1
    assert grain_of(FakeRuntime("strict")) == 64
    assert grain_of(FakeRuntime("strict", piece=16)) == 16


def test_a_model_that_is_divided_is_looked_at_below_its_divide() -> None:
    runtime = FakeRuntime("strict", divide=40)

    assert grain_of(runtime) == 64
    assert sum(runtime.log) == 2 * 40


@pytest.mark.parametrize(("size", "piece"), [(0, 64), (90_000_000, 64), (2_700_000_000, 16), (10**11, 8)])
def test_the_larger_the_weights_the_smaller_the_pieces(size: int, piece: int) -> None:
    assert piece_for(size) == piece


def test_a_gpu_reads_a_thousand_tokens_at_once_whatever_the_weights_take() -> None:
    assert piece_for(2_700_000_000, gpu=True) == piece_for(0, gpu=True) == 1024


def test_while_others_write_a_prompt_is_read_in_smaller_pieces() -> None:
    runtime = FakeRuntime("loose", slots=8)
    engine = TokenEngine(runtime, Options())
    runtime.pace = 0.001
    ask(engine, letters(100), SAMPLED.but(max_tokens=1))
    alone = letters(300, seed=2)
    runtime.log.clear()
    ask(engine, alone, SAMPLED.but(max_tokens=1))
    largest_alone = max(runtime.log)
    writer = engine.stream(letters(100), SAMPLED, never)
    while not isinstance(next(writer), Piece):
        pass
    runtime.log.clear()

    answer = ask(engine, letters(300, seed=3), SAMPLED.but(max_tokens=1))

    assert largest_alone > 2 * max(runtime.log)
    assert 0 < max(runtime.log) * runtime.pace <= 0.1
    runtime.pace = 0.0
    assert answer == cold(engine, letters(300, seed=3), SAMPLED.but(max_tokens=1))
