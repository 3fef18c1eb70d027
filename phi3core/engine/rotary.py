"""Models with two sets of rotary factors, such as Phi-3 128k and Phi-3.5: one for short sequences, one for long ones.

Keys that were computed with the short factors are wrong in a long sequence. Where a sequence passes the length that
divides them all of it is read anew, at once, as transformers' and onnxruntime-genai's own `generate` do; their lower
calls, which we use, leave it to the caller.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from .kv_cache import Forkable, Sequence, Tokens


class DividedSequence:
    """See kv_cache.Sequence. divide: the length up to which the short factors hold."""

    def __init__(self, sequence: Sequence, divide: int) -> None:
        self._sequence, self._divide = sequence, divide
        self._tokens = np.empty(0, np.int32)

    @property
    def inseparable(self) -> int:
        return self._divide if len(self._tokens) > self._divide else 0  # its keys are those of a long sequence

    def append(self, tokens: Tokens) -> None:
        before, self._tokens = len(self._tokens), np.concatenate([self._tokens, tokens])
        if 0 < before <= self._divide < len(self._tokens):
            self._again()
        else:
            self._sequence.append(tokens)

    def append_one(self, token: int) -> None:
        if len(self._tokens) == self._divide:
            self.append(np.array([token], np.int32))
        else:
            self._tokens = np.append(self._tokens, np.int32(token))
            self._sequence.append_one(token)

    def logits(self) -> np.ndarray[Any, Any]:
        return self._sequence.logits()

    def rewind(self, length: int) -> None:
        before, self._tokens = len(self._tokens), self._tokens[:length]
        if 0 < length <= self._divide < before:
            self._again()
        else:
            self._sequence.rewind(length)

    def fork(self, length: int) -> DividedSequence:
        made = DividedSequence(cast(Forkable, self._sequence).fork(length), self._divide)
        made._tokens = self._tokens[:length]
        return made

    def _again(self) -> None:
        self._sequence.rewind(0)
        self._sequence.append(self._tokens)
