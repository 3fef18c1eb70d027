"""Prompts read for the probabilities of their own tokens, each given those before it.

Prompts are read in rows, together where the runtime can. In alphabetical order each shares the longest beginning with
the one before, and takes it over from its row: what several share is read once. Memory is bounded by the tokens of a
step, for the logits after each of them take as much as the vocabulary has entries.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from .interface import Token
from .kv_cache import Logits, Tokens
from .prefill import pieces
from .runtime import Runtime
from .sampling import log_probabilities

_STEP = 256  # tokens of a small model to read at once: others wait so long, a third of a second
_LARGE = 64  # a model whose pieces are smaller gains nothing by more
_BYTES = 64 << 20  # of logits at a step

T = TypeVar("T")
Scored = tuple[int, int, tuple[Token, ...]]
"""Which prompt, the row that has read it but for its last token, and its tokens, none where they are not asked for."""


@dataclass(eq=False)
class _Reading:
    """A prompt being read in a row.

    before: the one whose first tokens, `shared` of them, it takes over; None once it has begun, and where there is none
    to be taken over. done: how many tokens its row holds. told: its tokens up to the one after those.
    """

    index: int
    tokens: Tokens
    before: _Reading | None
    shared: int
    row: int = 0
    begun: bool = False
    done: int = 0
    told: list[Token] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Its last token is not read: nothing of the prompt follows it."""
        return len(self.tokens) - 1


class PromptScorer:
    """Reads prompts on a runtime.

    grain: see prefill.grain_of. top: how many likeliest alternatives to tell with each token; None tells no token.
    """

    def __init__(self, runtime: Runtime, grain: int, top: int | None) -> None:
        self._runtime, self._grain, self._top = runtime, grain, top
        most = _STEP if runtime.piece >= _LARGE else runtime.piece
        # Where pieces matter, what is read must be cut as it is for an answer, whatever its logits take.
        self._step = runtime.piece if grain > 1 else max(2, min(most, _BYTES // (4 * runtime.vocabulary)))
        self._texts: dict[int, str] = {}

    def read(
        self, rows: list[Any], prompts: list[Tokens], stopped: Callable[[], bool]
    ) -> Iterator[list[Scored] | None]:
        """Read the prompts, in an order of its own, as many at a time as there are rows.

        Yields None after each step, and the prompts of the rows once all of them are read: until the next step the
        rows are the caller's, to go on in. Ends early once stopped() is true.
        """
        order = sorted(range(len(prompts)), key=lambda index: prompts[index].tolist())
        last: _Reading | None = None
        for first in range(0, len(order), len(rows)):
            batch: list[_Reading] = []
            for index in order[first : first + len(rows)]:
                last = _Reading(index, prompts[index], last, self._shared(last, prompts[index]))
                batch.append(last)
            for row, reading in enumerate(sorted(batch, key=lambda reading: reading.shared > 0)):
                reading.row = row  # those that begin with nothing are neighbours: they are computed together
            while not stopped():
                for reading in batch:  # in this order: a row is taken over from before it begins anew
                    self._begin(rows, reading)
                waiting = [reading for reading in batch if reading.begun and reading.done < reading.end]
                if not waiting:
                    break
                self._read(rows, waiting)
                yield None
            if stopped():
                return
            yield [(reading.index, reading.row, tuple(reading.told)) for reading in batch]

    def _shared(self, before: _Reading | None, tokens: Tokens) -> int:
        """How many tokens need not be read again: all but the last of those that are the same, whose logits tell.

        Two are left to be read before the last one: a single token is read differently.
        """
        if before is None or self._grain > 1:  # there pieces matter
            return 0
        length = min(len(before.tokens), len(tokens))
        differ = np.flatnonzero(before.tokens[:length] != tokens[:length])
        same = int(differ[0]) if len(differ) else length
        return max(0, min(same - 1, len(tokens) - 3))

    def _begin(self, rows: list[Any], reading: _Reading) -> None:
        """Give the row what it takes over, as soon as that is read."""
        before, shared = reading.before, reading.shared
        if reading.begun or (before and before.done < shared):
            return
        if before and before.row != reading.row and shared:
            self._runtime.copy(rows[before.row], rows[reading.row], shared)
        else:
            rows[reading.row].rewind(shared)
        if self._top is not None:
            reading.told = before.told[: shared + 1] if before and shared else [self._first(reading.tokens)]
        reading.begun, reading.done, reading.before = True, shared, None

    def _read(self, rows: list[Any], readings: list[_Reading]) -> None:
        """Read on in as many as a step holds, to their ends where it can be."""
        cuts: list[tuple[_Reading, int, int]] = []
        left = self._step
        for reading in readings:
            first, last = next(pieces(reading.done, reading.end, self._step, self._grain))
            if not cuts or last - first <= left:
                cuts.append((reading, first, last))
                left -= last - first
        taken = [(rows[reading.row], reading.tokens[first:last]) for reading, first, last in cuts]
        for (reading, first, last), logits in zip(cuts, self._runtime.read_all(taken), strict=True):
            if self._top is not None:
                following = reading.tokens[first + 1 : last + 1].tolist()
                reading.told += [self._tell(after, token) for after, token in zip(logits, following, strict=True)]
            reading.done = last

    def _first(self, tokens: Tokens) -> Token:
        return Token(self._text(int(tokens[0])), math.nan)

    def _tell(self, logits: Logits, token: int) -> Token:
        own, likeliest = log_probabilities(logits, token, self._top or 0)
        return Token(self._text(token), own, tuple((self._text(one), log) for one, log in likeliest))

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._runtime.text_of(token)
        return self._texts[token]


def in_turn(answers: list[Generator[T, None, int]]) -> Generator[T, None, int]:
    """A step of each in turn, so that their tokens are computed together. Returns the sum of what they return."""
    running, count = deque(answers), 0
    while running:
        answer = running.popleft()
        try:
            item = next(answer)
        except StopIteration as end:
            count += end.value
            continue
        yield item
        running.append(answer)
    return count
