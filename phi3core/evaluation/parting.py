"""Why two answers differ: the first token where they part, and how likely each model thought each of the two."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import accumulate, pairwise

from phi3core.traces.turn import Turn

_WORD = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True)
class Likelihood:
    """How likely a model thought a token, from 0 to 1. exact: else it was at most that, below what the model tells."""

    probability: float
    exact: bool = True


Likelihoods = tuple[Likelihood | None, Likelihood | None]
"""Of either token; None where the model does not tell."""


@dataclass(frozen=True)
class Parting:
    """Where two answers part. before: what both have until there. tokens: how each goes on; empty where it ends.

    likelihoods: what either model thought of the two tokens.
    """

    before: str
    tokens: tuple[str, str]
    likelihoods: tuple[Likelihoods, Likelihoods]


def find_parting(one: Turn, other: Turn) -> Parting | None:
    """Where the answers of two turns part; None where they are the same.

    Tokens are compared where both models have one that begins there; words, where a model tells none.
    """
    if one.answer == other.answer:
        return None
    same = next(
        (at for at, (a, b) in enumerate(zip(one.answer, other.answer)) if a != b),
        min(len(one.answer), len(other.answer)),
    )
    bounds = [_bounds(turn) for turn in (one, other)]
    at = max(place for place in {*bounds[0]} & {*bounds[1]} if place <= same)
    ours, theirs = (_piece(turn.answer, found, at) for turn, found in zip((one, other), bounds))
    told = [_likelihoods(turn, found.index(at), (ours, theirs)) for turn, found in zip((one, other), bounds)]
    return Parting(one.answer[:at], (ours, theirs), (told[0], told[1]))


def _bounds(turn: Turn) -> list[int]:
    """Where the pieces of an answer begin, and where the last one ends: tokens where they are told, else words."""
    pieces = [token.text for token in turn.tokens] if _has_tokens(turn) else _WORD.findall(turn.answer)
    return [0, *(at for at in accumulate(map(len, pieces)) if at <= len(turn.answer))]


def _has_tokens(turn: Turn) -> bool:
    """Whether the tokens are told and make up the answer, which may have been cut at a stop sequence."""
    return bool(turn.tokens) and "".join(token.text for token in turn.tokens).startswith(turn.answer)


def _piece(text: str, bounds: list[int], at: int) -> str:
    return next((text[start:end] for start, end in pairwise(bounds) if start == at), "")


def _likelihoods(turn: Turn, place: int, texts: tuple[str, str]) -> Likelihoods:
    """What a model thought of the two texts at the place of one of its tokens."""
    if not _has_tokens(turn) or place >= len(turn.tokens):
        return None, None
    token = turn.tokens[place]
    known = dict(token.top) | {token.text: token.logprob}
    one, other = (_likelihood(known, text) for text in texts)
    return one, other


def _likelihood(known: dict[str, float], text: str) -> Likelihood | None:
    """By what is known of the likeliest tokens. None for a text that may be parted into tokens in another way."""
    if text in known:
        return Likelihood(math.exp(known[text]))
    if not text or any(other.startswith(text) or text.startswith(other) for other in known if other.strip()):
        return None
    return Likelihood(math.exp(min(known.values())), exact=False)
