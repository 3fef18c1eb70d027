"""How much of a prompt need not be read again."""

from __future__ import annotations

from typing import Literal

import pytest

from phi3core.engine.interface import Options
from phi3core.engine.tokens import TokenEngine
from tests.support.fake_runtime import FakeRuntime, ask, letters
from tests.support.sequences import broken_off, joined, some_tokens, whole


@pytest.mark.parametrize("length", [3, 64, 65, 66, 129, 200])
@pytest.mark.parametrize("grain", [1, 64])
def test_the_same_prompt_again_needs_its_last_token_only(length: int, grain: int) -> None:
    tokens = some_tokens(length)

    assert whole(tokens).shared_prefix(tokens, grain) == length - 1


@pytest.mark.parametrize("grain", [1, 64])
def test_a_prompt_of_one_token_shares_nothing(grain: int) -> None:
    assert whole(some_tokens(1)).shared_prefix(some_tokens(1), grain) == 0
    assert whole(some_tokens(100)).shared_prefix(some_tokens(1), grain) == 0


def test_a_longer_prompt_shares_all_but_the_last_token_which_was_read_alone() -> None:
    before = some_tokens(100)

    assert whole(before).shared_prefix(joined(before, some_tokens(30, 3)), 1) == 99


def test_between_pieces_a_longer_prompt_shares_whole_pieces_only() -> None:
    before = some_tokens(200)

    assert whole(before).shared_prefix(joined(before, some_tokens(30, 3)), 64) == 192


def test_an_edited_message_shares_what_comes_before_it() -> None:
    before = some_tokens(200)
    edited = joined(before[:150], some_tokens(40, 5))
    assert before[150] != edited[150]

    assert whole(before).shared_prefix(edited, 1) == 150
    assert whole(before).shared_prefix(edited, 64) == 128


@pytest.mark.parametrize("grain", [1, 64])
def test_another_conversation_shares_nothing(grain: int) -> None:
    assert whole(some_tokens(100)).shared_prefix(some_tokens(100, 2), grain) == 0


@pytest.mark.parametrize("grain", [1, 64])
def test_the_rest_to_read_is_never_a_single_token_before_the_last(grain: int) -> None:
    """A single token is read differently, so it must not become a piece of its own."""
    tokens = some_tokens(300)
    for before in range(1, 200):
        for after in range(1, 200):
            prompt = joined(tokens[:before], some_tokens(after, 50))
            for kept in (whole(tokens[:before]), broken_off(tokens[:before])):
                shared = kept.shared_prefix(prompt, grain)
                assert shared == 0 or len(prompt) - 1 - shared != 1, (before, after, shared)


def test_a_last_piece_that_was_one_token_longer_does_not_count() -> None:
    """129 tokens before the last are read as 64 and 65, and a longer prompt reads them as 64 and 64 and more."""
    before = some_tokens(130)
    longer = joined(before, some_tokens(100, 3))

    assert whole(before).shared_prefix(longer, 64) == 64


def test_a_prompt_that_ends_where_a_broken_off_one_was_cut_was_read_in_another_piece() -> None:
    """The piece held 64 tokens, of which this prompt would read 63 together and the last one alone."""
    prompt = some_tokens(128)

    assert broken_off(prompt).shared_prefix(prompt, 64) == 64


def test_a_single_token_at_the_beginning_was_read_differently() -> None:
    """A prompt of two tokens reads each alone; a longer one reads its first together with others."""
    longer = some_tokens(50)

    assert whole(longer[:2]).shared_prefix(longer, 1) == 0
    assert whole(longer).shared_prefix(longer[:2], 1) == 0


@pytest.mark.parametrize("slots", [0, 64])
@pytest.mark.parametrize("kernels", ["loose", "strict"])
def test_of_a_conversation_that_passed_the_divide_no_shorter_beginning_is_kept(
    kernels: Literal["loose", "strict"], slots: int
) -> None:
    """Its keys were computed with the factors of a long one: it is read as any other, in pieces."""
    runtime, long, short = FakeRuntime(kernels, slots=slots, divide=200), letters(250), letters(250)[:150] + "edit"
    engine, fresh = (TokenEngine(one, Options(), budget=10**6) for one in (runtime, FakeRuntime(kernels, divide=200)))
    ask(engine, long)

    answer = ask(engine, short)

    assert answer == ask(fresh, short)
    assert answer.cached == 0
    assert ask(engine, long + "?").cached > 0
