"""Which sequences are kept, taken again and given up when memory is short."""

from __future__ import annotations

import numpy as np
import pytest

from phi3core.engine.kv_cache import SequenceCache, Tokens
from tests.support.sequences import FakeSequence, joined, read, sequences, some_tokens

# ---------------------------------------------------------------- taking and giving


def test_the_next_turn_takes_its_own_sequence_and_rewinds_it() -> None:
    kept, first = sequences(), some_tokens(100)
    sequence, _ = read(kept, first)

    again, shared = kept.acquire(joined(first, some_tokens(20, 3)), 150)

    assert again is sequence
    assert shared == 99
    assert sequence.sequence.rewinds == [99]  # type: ignore[attr-defined]
    assert (len(again.tokens), again.complete) == (99, False)


def test_a_sequence_in_use_is_not_given_to_another() -> None:
    kept, tokens = sequences(), some_tokens(100)
    first, _ = kept.acquire(tokens, 150)
    first.tokens, first.complete = tokens, True

    second, shared = kept.acquire(tokens, 150)

    assert second is not first
    assert shared == 0


def test_a_dropped_sequence_does_not_come_back() -> None:
    kept, tokens = sequences(), some_tokens(100)
    sequence, _ = kept.acquire(tokens, 150)
    sequence.tokens, sequence.complete = tokens, True
    kept.discard(sequence)

    again, shared = kept.acquire(tokens, 150)

    assert again is not sequence
    assert (shared, kept.used_bytes) == (0, again.capacity)


def test_two_conversations_with_one_system_prompt_do_not_steal_from_each_other() -> None:
    kept, system = sequences(), some_tokens(100)
    first = joined(system, some_tokens(150, 2))
    second = joined(system, some_tokens(150, 3))
    mine, _ = read(kept, first)

    other, shared = read(kept, second)
    again, kept_of_mine = kept.acquire(joined(first, some_tokens(20, 4)), 300)

    assert (other is mine, shared) == (False, 0)
    assert (again is mine, kept_of_mine) == (True, 249)


def test_where_there_is_no_room_a_shared_system_prompt_is_used() -> None:
    kept, system = sequences(budget=500), some_tokens(100)
    mine, _ = read(kept, joined(system, some_tokens(150, 2)))

    other, shared = kept.acquire(joined(system, some_tokens(150, 3)), 260)

    assert (other is mine, shared) == (True, 100)


def test_a_conversation_that_outgrew_its_sequence_does_not_leave_it_behind() -> None:
    kept, first = sequences(), some_tokens(400)
    small, _ = read(kept, first)
    assert small.capacity == 1024

    large, shared = kept.acquire(joined(first, some_tokens(900, 3)), 1400)

    assert (large is small, shared) == (False, 0)
    assert kept.used_bytes == large.capacity >= 1400


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
    assert kept.used_bytes <= kept.budget


def kept_shares(kept: SequenceCache, tokens: Tokens) -> int:
    return max(one.shared_prefix(tokens, 1) for one in kept._idle)


def test_a_conversation_that_says_its_name_goes_on_in_its_own_sequence_however_little_is_common() -> None:
    kept, opening = sequences(), some_tokens(100)
    long = np.concatenate([opening, some_tokens(800, 1)])
    first = kept.acquire(long, 950, "a")[0]
    first.tokens, first.complete = long, True
    kept.release(first)
    edited = np.concatenate([opening, some_tokens(50, 2)])
    other, shared = kept.acquire(edited, 200, "b")
    assert (other is first, shared) == (False, 0)  # a system prompt in common: there is room for both
    kept.discard(other)
    again, shared = kept.acquire(edited, 200, "a")
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
        assert kept.used_bytes <= 10_000


def test_what_is_running_is_never_thrown_out() -> None:
    kept = sequences(budget=2048)
    running, _ = kept.acquire(some_tokens(50), 100)

    for first in range(2, 6):
        read(kept, some_tokens(50, first))

    kept.release(running)
    assert kept.used_bytes <= kept.budget + 1024


# ---------------------------------------------------------------- room


def test_there_is_room_while_the_budget_lasts() -> None:
    kept = sequences(budget=4096)
    assert kept.fits(100)

    taken = [kept.acquire(some_tokens(50, first), 100)[0] for first in range(1, 5)]

    assert not kept.fits(100)
    kept.release(taken[0])
    assert kept.fits(100)


def test_idle_sequences_take_no_room_from_a_new_one() -> None:
    kept = sequences(budget=1024)
    read(kept, some_tokens(50))

    assert kept.fits(100)


def test_what_is_larger_than_the_budget_does_not_fit_and_is_made_all_the_same() -> None:
    kept = sequences(budget=100)

    assert not kept.fits(500)
    assert read(kept, some_tokens(490))[0].capacity == 500
