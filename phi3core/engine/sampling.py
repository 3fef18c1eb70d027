"""Draws the next token from a model's logits. Knows nothing of models, text or time.

Sampling is ours and not the runtime's, because a runtime fixes its options and its random numbers when a
sequence is made: with ours a kept sequence can go on under other options, and the same seed gives the same answer
whatever was kept. It also makes both runtimes honour the same options in the same way.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .interface import Options

# A token that is 1e-7 times as likely as the likeliest is never drawn: it spares sorting the whole vocabulary.
_NEVER = 16.0  # natural logarithm
_COLUMNS = 768  # in which a vocabulary is looked through for its likeliest tokens
_64_BITS = 2**64 - 1  # random numbers have no negative seeds


class Sampler:
    """Picks the tokens of one answer.

    prompt: the prompt's token ids, which repetition_penalty counts. seed: of this answer's random numbers.
    """

    def __init__(self, options: Options, prompt: np.ndarray[Any, Any], seed: int) -> None:
        self._options = options
        self._random = np.random.Generator(np.random.PCG64(seed & _64_BITS))
        # A token less likely than this, as a distance of logits, is never drawn.
        least = -math.log(options.min_p) if options.min_p else math.inf
        self._reach = min(_NEVER, least) * options.temperature
        self._seen = set(prompt.tolist()) if options.repetition_penalty != 1 else set()
        self._seen_ids = np.array(sorted(self._seen), np.int64)
        self._counts: dict[int, int] = {}

    def pick(self, logits: np.ndarray[Any, Any], allowed: np.ndarray[Any, Any] | None = None) -> int:
        """The next token's id. logits: float32[vocabulary], changed in place. allowed: bool[vocabulary] or None."""
        if allowed is not None:
            logits[~allowed] = -np.inf
        self._penalize(logits)
        token = int(logits.argmax()) if self._options.temperature == 0 else self._draw(logits)
        self._count(token)
        return token

    def _penalize(self, logits: np.ndarray[Any, Any]) -> None:
        penalty = self._options.repetition_penalty
        if penalty != 1 and len(self._seen_ids):
            seen = logits[self._seen_ids]
            logits[self._seen_ids] = np.where(seen > 0, seen / penalty, seen * penalty)
        presence, frequency = self._options.presence_penalty, self._options.frequency_penalty
        if (presence or frequency) and self._counts:
            ids = np.fromiter(self._counts, np.int64)
            counts = np.fromiter(self._counts.values(), np.float32)
            logits[ids] -= presence + frequency * counts

    def _draw(self, logits: np.ndarray[Any, Any]) -> int:
        options = self._options
        top = logits.max()
        least = top - self._reach
        ids = (logits >= least).nonzero()[0]
        if len(ids) > _COLUMNS >= options.top_k > 0:
            ids = (logits >= max(least, _least_of_best(logits, options.top_k))).nonzero()[0]
        draw = self._random.random()  # one for every token, drawn or not, so that answers stay comparable
        if len(ids) == 1:
            return int(ids[0])
        if len(ids) > options.top_k > 0:
            ids = np.sort(ids[np.argpartition(logits[ids], -options.top_k)[-options.top_k :]])
        found = logits[ids]
        order = (-found).argsort(kind="stable")
        # As float64: a temperature may be too small for float32.
        cumulated = np.exp((found[order] - top).astype(np.float64) / options.temperature).cumsum()
        last = min(int(cumulated.searchsorted(options.top_p * cumulated[-1])), len(order) - 1)
        drawn = min(int(cumulated.searchsorted(draw * cumulated[last], side="right")), last)
        return int(ids[order[drawn]])

    def _count(self, token: int) -> None:
        if self._options.repetition_penalty != 1 and token not in self._seen:
            self._seen.add(token)
            self._seen_ids = np.append(self._seen_ids, token)
        if self._options.presence_penalty or self._options.frequency_penalty:
            self._counts[token] = self._counts.get(token, 0) + 1


def _least_of_best(logits: np.ndarray[Any, Any], top_k: int) -> float:
    """A logit that the `top_k` best reach and few others do, for as many maxima of columns reach it."""
    rows = len(logits) // _COLUMNS
    maxima = logits[: rows * _COLUMNS].reshape(rows, _COLUMNS).max(axis=0)
    return float(np.partition(maxima, -top_k)[-top_k])


def log_probabilities(logits: np.ndarray[Any, Any], token: int, top: int) -> tuple[float, list[tuple[int, float]]]:
    """The natural logarithm of a token's probability, and of the likeliest ones', likeliest first.

    From the model's own logits, before temperature, penalties and constraints, as OpenAI tells them.
    """
    highest = float(logits.max())
    total = highest + math.log(float(np.exp(logits - highest, dtype=np.float64).sum()))
    if top == 1:
        best = np.array([logits.argmax()])  # a hundredth of the time
    else:
        best = np.argpartition(logits, -top)[-top:] if top else np.empty(0, np.int64)
    best = best[np.argsort(-logits[best], kind="stable")]
    return float(logits[token]) - total, [(int(one), float(logits[one]) - total) for one in best]
