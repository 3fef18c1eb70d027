"""What of a prompt is kept from earlier, and which sequences stay when memory is short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from phi3core.engine.kv_cache import CachedSequence, SequenceCache, Tokens


def some_tokens(length: int, first: int = 1) -> Tokens:
    return (np.arange(length, dtype=np.int32) * 7 + first) % 97


def joined(*parts: Tokens) -> Tokens:
    return np.concatenate(parts).astype(np.int32)


class FakeSequence:
    """Only remembers what it was told to forget."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.rewinds = capacity, []  # type: int, list[int]

    def append(self, tokens: Tokens) -> None: ...

    def append_one(self, token: int) -> None: ...

    def logits(self) -> np.ndarray[Any, Any]:
        return np.zeros(1, np.float32)

    def rewind(self, length: int) -> None:
        self.rewinds.append(length)


def sequences(budget: int = 1_000_000, grain: int = 1, token_bytes: int = 1, context: int = 8192) -> SequenceCache:
    return SequenceCache(FakeSequence, token_bytes, context, budget, grain, lambda: 10**9)


def read(kept: SequenceCache, tokens: Tokens, answer: int = 10) -> tuple[CachedSequence, int]:
    """Take a sequence, read the whole prompt, give it back."""
    sequence, shared = kept.take(tokens, len(tokens) + answer)
    sequence.read, sequence.whole = tokens, True
    kept.give(sequence)
    return sequence, shared


def whole(tokens: Tokens) -> CachedSequence:
    return CachedSequence(FakeSequence(1024), 1024, tokens, whole=True)


def broken_off(tokens: Tokens) -> CachedSequence:
    return CachedSequence(FakeSequence(1024), 1024, tokens, whole=False)


# ---------------------------------------------------------------- what is shared


@pytest.mark.parametrize("length", [3, 64, 65, 66, 129, 200])
@pytest.mark.parametrize("grain", [1, 64])
def test_the_same_prompt_again_needs_its_last_token_only(length: int, grain: int) -> None:
    tokens = some_tokens(length)

    assert whole(tokens).shares(tokens, grain) == length - 1


@pytest.mark.parametrize("grain", [1, 64])
def test_a_prompt_of_one_token_shares_nothing(grain: int) -> None:
    assert whole(some_tokens(1)).shares(some_tokens(1), grain) == 0
    assert whole(some_tokens(100)).shares(some_tokens(1), grain) == 0


def test_a_longer_prompt_shares_all_but_the_last_token_which_was_read_alone() -> None:
    before = some_tokens(100)

    assert whole(before).shares(joined(before, some_tokens(30, 3)), 1) == 99


def test_between_pieces_a_longer_prompt_shares_whole_pieces_only() -> None:
    before = some_tokens(200)

    assert whole(before).shares(joined(before, some_tokens(30, 3)), 64) == 192


def test_an_edited_message_shares_what_comes_before_it() -> None:
    before = some_tokens(200)
    edited = joined(before[:150], some_tokens(40, 5))
    assert before[150] != edited[150]

    assert whole(before).shares(edited, 1) == 150
    assert whole(before).shares(edited, 64) == 128


@pytest.mark.parametrize("grain", [1, 64])
def test_another_conversation_shares_nothing(grain: int) -> None:
    assert whole(some_tokens(100)).shares(some_tokens(100, 2), grain) == 0


@pytest.mark.parametrize("grain", [1, 64])
def test_the_rest_to_read_is_never_a_single_token_before_the_last(grain: int) -> None:
    """A single token is read differently, so it must not become a piece of its own."""
    tokens = some_tokens(300)
    for before in range(1, 200):
        for after in range(1, 200):
            prompt = joined(tokens[:before], some_tokens(after, 50))
            for kept in (whole(tokens[:before]), broken_off(tokens[:before])):
                shared = kept.shares(prompt, grain)
                assert shared == 0 or len(prompt) - 1 - shared != 1, (before, after, shared)


def test_a_last_piece_that_was_one_token_longer_does_not_count() -> None:
    """129 tokens before the last are read as 64 and 65, and a longer prompt reads them as 64 and 64 and more."""
    before = some_tokens(130)
    longer = joined(before, some_tokens(100, 3))

    assert whole(before).shares(longer, 64) == 64


def test_a_prompt_that_ends_where_a_broken_off_one_was_cut_was_read_in_another_piece() -> None:
    """The piece held 64 tokens, of which this prompt would read 63 together and the last one alone."""
    prompt = some_tokens(128)

    assert broken_off(prompt).shares(prompt, 64) == 64


def test_a_single_token_at_the_beginning_was_read_differently() -> None:
    """A prompt of two tokens reads each alone; a longer one reads its first together with others."""
    longer = some_tokens(50)

    assert whole(longer[:2]).shares(longer, 1) == 0
    assert whole(longer).shares(longer[:2], 1) == 0


# ---------------------------------------------------------------- taking and giving


def test_the_next_turn_takes_its_own_sequence_and_rewinds_it() -> None:
    kept, first = sequences(), some_tokens(100)
    sequence, _ = read(kept, first)

    again, shared = kept.take(joined(first, some_tokens(20, 3)), 150)

    assert again is sequence
    assert shared == 99
    assert sequence.sequence.rewinds == [99]  # type: ignore[attr-defined]
    assert (len(again.read), again.whole) == (99, False)


def test_a_sequence_in_use_is_not_given_to_another() -> None:
    kept, tokens = sequences(), some_tokens(100)
    first, _ = kept.take(tokens, 150)
    first.read, first.whole = tokens, True

    second, shared = kept.take(tokens, 150)

    assert second is not first
    assert shared == 0


def test_a_dropped_sequence_does_not_come_back() -> None:
    kept, tokens = sequences(), some_tokens(100)
    sequence, _ = kept.take(tokens, 150)
    sequence.read, sequence.whole = tokens, True
    kept.drop(sequence)

    again, shared = kept.take(tokens, 150)

    assert again is not sequence
    assert (shared, kept.bytes) == (0, again.capacity)


def test_two_conversations_with_one_system_prompt_do_not_steal_from_each_other() -> None:
    kept, system = sequences(), some_tokens(100)
    first = joined(system, some_tokens(150, 2))
    second = joined(system, some_tokens(150, 3))
    mine, _ = read(kept, first)

    other, shared = read(kept, second)
    again, kept_of_mine = kept.take(joined(first, some_tokens(20, 4)), 300)

    assert (other is mine, shared) == (False, 0)
    assert (again is mine, kept_of_mine) == (True, 249)


def test_where_there_is_no_room_a_shared_system_prompt_is_used() -> None:
    kept, system = sequences(budget=500), some_tokens(100)
    mine, _ = read(kept, joined(system, some_tokens(150, 2)))

    other, shared = kept.take(joined(system, some_tokens(150, 3)), 260)

    assert (other is mine, shared) == (True, 100)


def test_a_conversation_that_outgrew_its_sequence_does_not_leave_it_behind() -> None:
    kept, first = sequences(), some_tokens(400)
    small, _ = read(kept, first)
    assert small.capacity == 1024

    large, shared = kept.take(joined(first, some_tokens(900, 3)), 1400)

    assert (large is small, shared) == (False, 0)
    assert kept.bytes == large.capacity >= 1400


def test_a_sequence_has_room_to_grow() -> None:
    kept = sequences()

    assert read(kept, some_tokens(10))[0].capacity == 1024
    assert read(kept, some_tokens(90) + 97, answer=910)[0].capacity == 2048


def test_a_sequence_is_never_longer_than_the_context() -> None:
    assert read(sequences(context=200), some_tokens(10))[0].capacity == 200


def test_one_conversation_leaves_room_for_others_when_memory_is_short() -> None:
    """A quarter of the budget for room to grow; what is really needed is taken all the same."""
    assert read(sequences(budget=2000), some_tokens(10))[0].capacity == 500
    assert read(sequences(budget=2000), some_tokens(900))[0].capacity == 910


def test_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr("phi3core.engine.kv_cache.time.monotonic", lambda: float(next(now)))
    kept = sequences(budget=4 * 1024)
    prompts = [some_tokens(50, first) for first in (1, 2, 3, 4)]
    for prompt in prompts:
        read(kept, prompt)
    read(kept, prompts[0])

    read(kept, some_tokens(50, 5))

    assert [kept_shares(kept, prompt) for prompt in prompts] == [49, 0, 49, 49]
    assert kept.bytes <= kept.budget


def kept_shares(kept: SequenceCache, tokens: Tokens) -> int:
    return max(one.shares(tokens, 1) for one in kept._idle)


def test_a_conversation_that_says_its_name_goes_on_in_its_own_sequence_however_little_is_common() -> None:
    kept, opening = sequences(), some_tokens(100)
    long = np.concatenate([opening, some_tokens(800, 1)])
    first = kept.take(long, 950, "a")[0]
    first.read, first.whole = long, True
    kept.give(first)
    edited = np.concatenate([opening, some_tokens(50, 2)])
    other, shared = kept.take(edited, 200, "b")
    assert (other is first, shared) == (False, 0)  # a system prompt in common: there is room for both
    kept.drop(other)
    again, shared = kept.take(edited, 200, "a")
    assert (again is first, shared) == (True, 100)


def test_half_of_what_the_machine_has_left_stays_free() -> None:
    free = 100_000
    kept = SequenceCache(FakeSequence, 1, 8192, 50_000, 1, lambda: free)
    assert kept.budget == 50_000
    free = 4000  # another model has been loaded
    assert kept.fits(2000)
    assert not kept.fits(2001)
    read(kept, some_tokens(600))
    read(kept, some_tokens(600, 2))
    assert len(kept._idle) == 2
    free = 0
    read(kept, some_tokens(600, 3))
    assert len(kept._idle) == 1  # the others went, and what is really needed is made all the same


def test_idle_sequences_stay_within_the_budget() -> None:
    kept = sequences(budget=10_000, token_bytes=2)
    for first in range(1, 60):
        read(kept, some_tokens(20 + first, first))
        assert kept.bytes <= 10_000


def test_what_is_running_is_never_thrown_out() -> None:
    kept = sequences(budget=2048)
    running, _ = kept.take(some_tokens(50), 100)

    for first in range(2, 6):
        read(kept, some_tokens(50, first))

    kept.give(running)
    assert kept.bytes <= kept.budget + 1024


# ---------------------------------------------------------------- room


def test_there_is_room_while_the_budget_lasts() -> None:
    kept = sequences(budget=4096)
    assert kept.fits(100)

    taken = [kept.take(some_tokens(50, first), 100)[0] for first in range(1, 5)]

    assert not kept.fits(100)
    kept.give(taken[0])
    assert kept.fits(100)


def test_idle_sequences_take_no_room_from_a_new_one() -> None:
    kept = sequences(budget=1024)
    read(kept, some_tokens(50))

    assert kept.fits(100)


def test_what_is_larger_than_the_budget_does_not_fit_and_is_made_all_the_same() -> None:
    kept = sequences(budget=100)

    assert not kept.fits(500)
    assert read(kept, some_tokens(490))[0].capacity == 500
