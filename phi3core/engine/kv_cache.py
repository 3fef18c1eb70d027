"""Sequences kept between answers, so that a conversation's next turn reads only what is new.

The same request must get the same answer, kept or not. The runtimes round differently for one token and for many, so
a prompt is always read in pieces and its last token alone, and only what was read that way counts as kept: an answer,
decoded token by token, is read again in pieces when the next turn brings it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

Tokens = np.ndarray[Any, Any]  # int32
Logits = np.ndarray[Any, Any]  # float32

# Slots that one request's rows leave to others: each answer that begins meanwhile takes one.
_SPARED = 16


class Sequence(Protocol):
    """Tokens with their KV cache, in a runtime."""

    @property
    def inseparable(self) -> int:
        """Its first tokens, up to so many, can't be kept without those that follow (see rotary.py)."""

    def append(self, tokens: Tokens) -> None:
        """Run the model over these tokens."""

    def append_one(self, token: int) -> None:
        """The same for one. It may be put off until the logits are asked for, and computed with other sequences'."""

    def logits(self) -> np.ndarray[Any, Any]:
        """float32[vocabulary] after the last token, to be changed at will."""

    def rewind(self, length: int) -> None:
        """Forget all but the first tokens."""


class Forkable(Sequence, Protocol):
    """What a runtime with `slots` makes."""

    def fork(self, length: int) -> Sequence:
        """A new one that begins with its first tokens, copied."""


@dataclass(eq=False)
class CachedSequence:
    """A sequence and the prompt that it has read. complete: the prompt's last token was read too, alone.

    capacity: tokens that it has room for. answered: the length of the last prompt that was answered; what lies beyond
    was read ahead. key: the conversation's name, as the client says (OpenAI's prompt_cache_key).
    """

    sequence: Sequence
    capacity: int
    tokens: Tokens = field(default_factory=lambda: np.empty(0, np.int32))
    complete: bool = False
    answered: int = 0
    used_at: float = 0.0
    key: str = ""

    @property
    def length(self) -> int:
        """How long its conversation is, without what was read ahead."""
        return min(self.answered or len(self.tokens), len(self.tokens))

    def shared_prefix(self, tokens: Tokens, grain: int) -> int:
        """How many of these tokens need not be read again.

        grain: a reading may be cut at its multiples only, without changing what is read.
        """
        shared = self._in_common(tokens, grain)
        return shared if shared > self.sequence.inseparable else 0

    def _in_common(self, tokens: Tokens, grain: int) -> int:
        length = min(len(self.tokens), len(tokens))
        differ = np.flatnonzero(self.tokens[:length] != tokens[:length])
        common = int(differ[0]) if len(differ) else length
        last = len(tokens) - 1
        in_pieces = len(self.tokens) - 1 if self.complete else len(self.tokens)
        if min(last, in_pieces) < 2:  # one token before the last is read alone, as in no longer prompt
            return 0
        if common >= last and in_pieces >= last and (grain == 1 or (self.complete and len(self.tokens) == len(tokens))):
            return last
        if grain > 1 and in_pieces % grain == 1:
            in_pieces -= grain  # the last piece was one token longer: see prefill.pieces
        shared = min(common, last, in_pieces) // grain * grain
        # What is left before the last token is read as one piece, which must not be a single token.
        return shared - grain if shared and last - shared == 1 else shared


class SequenceCache:
    """The sequences of one model: those in use, and idle ones within a budget of bytes; the least recently used go.

    free: the bytes that the machine has left now. Half of them stay free, whatever the budget says: another model may
    have been loaded since. slots: see runtime.Runtime.
    """

    def __init__(
        self,
        make: Callable[[int], Sequence],
        token_bytes: int,
        context_length: int,
        budget: int,
        grain: int,
        free: Callable[[], int],
        slots: int = 0,
    ) -> None:
        self._make, self._token_bytes, self._context = make, token_bytes, context_length
        self._budget, self._grain, self._free, self._slots = budget, grain, free, slots
        self._idle: list[CachedSequence] = []
        self._running: list[CachedSequence] = []

    @property
    def used_bytes(self) -> int:
        """What all sequences take now."""
        return sum(cached.capacity for cached in self._idle + self._running) * self._token_bytes

    @property
    def budget(self) -> int:
        """What all sequences may take now."""
        return min(self._budget, self.used_bytes + self._free() // 2)

    def fits(self, need: int) -> bool:
        """Whether there is room for a sequence of so many tokens beside those in use."""
        if 0 < self._slots <= len(self._running):
            return False
        used = sum(cached.capacity for cached in self._running)
        return (used + self._capacity(need)) * self._token_bytes <= self.budget

    def acquire(self, tokens: Tokens, need: int, key: str = "") -> tuple[CachedSequence, int]:
        """A sequence with room for `need` tokens, and how many of these it has read already; give it back.

        key: of the conversation, where the client gave one: it may always go on in its own sequence.
        """
        best = max(self._idle, key=lambda cached: cached.shared_prefix(tokens, self._grain), default=None)
        shared = best.shared_prefix(tokens, self._grain) if best else 0
        capacity = self._capacity(need)
        roomy = best is not None and (self._slots > 0 or best.capacity >= need)
        if best and shared and roomy and self._is_worth(best, shared, capacity, key):
            self._idle.remove(best)
            if best.capacity < need:  # it grows
                self._make_room(need)
                best.capacity = need
            best.sequence.rewind(shared)
            best.tokens, best.complete = best.tokens[:shared], False
        else:
            if best and shared and self._is_own(best, shared, key):
                self._idle.remove(best)  # the same conversation, which has outgrown it
            best = None  # it may have to go now
            best, shared = self._begin(tokens, capacity)
        best.key = key
        self._running.append(best)
        return best, shared

    def most_rows(self, need: int, wanted: int) -> int:
        """How many sequences of so many tokens one request may `hold`: as many as there is room for, at least one."""
        left = self.budget // self._token_bytes - sum(cached.capacity for cached in self._running)
        slots = self._slots - len(self._running) - _SPARED if self._slots else wanted
        return max(1, min(wanted, slots, left // need))

    def hold(self, capacity: int, make: Callable[[int], Sequence]) -> CachedSequence:
        """An empty sequence of one's own with room for so many tokens; it is not kept: `discard` it."""
        made = self._new(capacity, make)
        self._running.append(made)
        return made

    def _new(self, capacity: int, make: Callable[[int], Sequence]) -> CachedSequence:
        self._make_room(capacity)
        return CachedSequence(make(capacity), capacity)

    def _begin(self, tokens: Tokens, capacity: int) -> tuple[CachedSequence, int]:
        """A sequence of its own; where copying is possible, with what another has read of the same beginning."""
        self._make_room(capacity)
        others = self._idle + self._running if self._slots else []
        best = max(others, key=lambda cached: cached.shared_prefix(tokens, self._grain), default=None)
        shared = best.shared_prefix(tokens, self._grain) if best else 0
        if best and shared:
            forked = cast(Forkable, best.sequence).fork(shared)
            return CachedSequence(forked, capacity, tokens[:shared]), shared
        return CachedSequence(self._make(capacity), capacity), 0

    def others_write(self, cached: CachedSequence) -> bool:
        """Whether the tokens of another answer wait while this sequence reads."""
        return any(other.complete for other in self._running if other is not cached)

    def release(self, cached: CachedSequence) -> None:
        """Keep a sequence for later, if it has read anything."""
        cached.used_at = time.monotonic()
        self._running.remove(cached)
        if len(cached.tokens):
            self._idle.append(cached)

    def discard(self, cached: CachedSequence) -> None:
        """Forget a sequence whose state is unknown."""
        self._running.remove(cached)

    def _is_worth(self, cached: CachedSequence, shared: int, capacity: int, key: str) -> bool:
        return self._is_own(cached, shared, key) or self.used_bytes + capacity * self._token_bytes > self.budget

    def _is_own(self, cached: CachedSequence, shared: int, key: str) -> bool:
        """Two conversations may share a system prompt: one does not take the other's sequence while there is room.

        Where beginnings can be copied, one takes only what ends where it goes on.
        """
        least = cached.length - 1 - self._grain if self._slots else cached.length / 2
        return (bool(key) and cached.key == key) or shared >= least

    def _capacity(self, need: int) -> int:
        """Room to grow, since a sequence that is outgrown is read anew: twice the need, at least 1,024 tokens."""
        if self._slots:
            return need
        roomy = max(1024, 1 << (2 * need - 1).bit_length())
        most = self.budget // (4 * self._token_bytes)  # one conversation leaves room for others
        return min(max(need, min(roomy, most)), self._context)

    def _make_room(self, capacity: int) -> None:
        """Let idle sequences go for one of so many tokens."""
        self._idle.sort(key=lambda cached: cached.used_at)
        while self._idle and (
            self.used_bytes + capacity * self._token_bytes > self.budget
            or 0 < self._slots <= len(self._idle) + len(self._running)
        ):
            self._idle.pop(0)
