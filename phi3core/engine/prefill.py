"""How a prompt is read: in which pieces, so that others have their turn between them and no answer depends on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .kv_cache import CachedSequence, Tokens
from .runtime import Runtime

# Seconds that reading a piece should take at most: alone, and while others write, whose tokens come no sooner.
_PIECE, _PIECE_AMONG_OTHERS = 0.3, 0.1
_SMALLEST = 8  # tokens: smaller pieces would take longer together
_LARGEST = 256  # tokens: larger pieces are hardly quicker


def piece_for(size: int, gpu: bool = False) -> int:
    """How many tokens of a prompt to read at once, by the weights' bytes: about 0.2 to 0.4 s of work on four cores.

    Fixed by the version and the device, not measured: where kernels round by the piece, an answer depends on it.

    Args:
        gpu: the weights are on a GPU, where a call costs as much for one token as for a thousand.
    """
    if gpu:
        return 1024
    fitting = int(64e9 / max(size, 1))
    return 1 << (min(max(fitting, 8), 64).bit_length() - 1)


class PromptReader:
    """Reads prompts on this machine. grain: a reading may be cut at its multiples only, 1 where it may be anywhere."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.grain = grain_of(runtime)
        self._pace = 0.0  # seconds that reading a token takes here, at best; 0: unknown

    def read(
        self, cached: CachedSequence, tokens: Tokens, start: int, end: int, others_write: Callable[[], bool]
    ) -> Iterator[None]:
        """Bring a sequence that has read these tokens up to `start` to `end`, a piece at each step."""
        first, pace = start, self._pace
        while first < end:
            first, last = next(pieces(first, end, self._size(pace, others_write()), self.grain))
            begun = time.perf_counter()
            cached.sequence.append(tokens[first:last])
            cached.tokens = tokens[:last]
            if last - first >= _SMALLEST:
                pace = (time.perf_counter() - begun) / (last - first)  # slower with each, for it reads what was before
                self._pace = min(self._pace or pace, pace)
            first = last
            yield None

    def _size(self, pace: float, others_write: bool) -> int:
        """Tokens to read at once, by seconds for a token; fixed where the answer depends on it."""
        if self.grain > 1 or not pace:
            return self._runtime.piece
        fitting = int((_PIECE_AMONG_OTHERS if others_write else _PIECE) / pace)
        most = _LARGEST if self._runtime.slots else self._runtime.piece
        return min(max(_SMALLEST, fitting // _SMALLEST * _SMALLEST), most)


def pieces(start: int, end: int, size: int, grain: int) -> Iterator[tuple[int, int]]:
    """Cuts of [start, end), at multiples of the size where the grain is no smaller: there they change what is read.

    Never a piece of one token, which is read differently everywhere.
    """
    first = start + size if grain == 1 else (start // size + 1) * size
    cuts = [start, *range(first, end, size), end]
    if len(cuts) > 2 and cuts[-1] - cuts[-2] == 1:
        del cuts[-2]
    if len(cuts) > 2 and cuts[1] - cuts[0] == 1:
        del cuts[1]
    for at in range(len(cuts) - 1):
        if cuts[at] < cuts[at + 1]:
            yield cuts[at], cuts[at + 1]


def grain_of(runtime: Runtime) -> int:
    """Where a kept prompt may be cut: anywhere (1) if this machine's kernels read it the same, else between pieces."""
    # A piece of one token more than fills any kernel's tile: some compute that last row as they do a single token.
    # Not as far as a divide, where all of it is read anew.
    count = min(max(runtime.piece, 16) + 2, runtime.divide or runtime.context_length)
    tokens = np.arange(count, dtype=np.int32) % runtime.vocabulary

    def read(*ends: int) -> np.ndarray[Any, Any]:
        sequence, begin = runtime.sequence(len(tokens)), 0
        for end in ends:
            sequence.append(tokens[begin:end])
            begin = end
        sequence.append_one(int(tokens[-1]))
        return sequence.logits()

    last = len(tokens) - 1
    return 1 if np.array_equal(read(last), read(2, 5, 12, last)) else runtime.piece
