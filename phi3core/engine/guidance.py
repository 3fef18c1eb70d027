"""Answers that follow a JSON schema: llguidance says which tokens may come next.

llguidance is what onnxruntime-genai's own guidance is made of. Used directly it serves both runtimes, and goes with
kept sequences, penalties and probabilities (docs/decisions/0008).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import llguidance
import llguidance.numpy
import numpy as np

from phi3core.errors import BadInput


class Guidance:
    """Grammars for one tokenizer. tokenizer: a Hugging Face tokenizer.json, as text."""

    def __init__(self, tokenizer: str, vocabulary: int, eos: int) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = llguidance.LLTokenizer(tokenizer, n_vocab=vocabulary, eos_token=eos)

    def follow(self, schema: str) -> Constraint:
        """A constraint for one answer. Raises BadInput for a schema that is none."""
        return Constraint(llguidance.LLMatcher(self._tokenizer, grammar_of(schema)), self._vocabulary)


class Constraint:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: llguidance.LLMatcher, vocabulary: int) -> None:
        if matcher.is_error():
            raise BadInput(f"The JSON schema can't be followed: {matcher.get_error()}.")
        self._matcher = matcher
        self._mask = llguidance.numpy.allocate_token_bitmask(1, vocabulary)

    def apply(self, logits: np.ndarray[Any, Any]) -> None:
        """Make every token that may not come next impossible."""
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._mask, 0)
        llguidance.numpy.apply_token_bitmask_inplace(logits[None], self._mask)

    def take(self, token: int) -> bool:
        """Go on by one token. True when the answer is complete."""
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())


def check(schema: str) -> None:
    """Raise BadInput for a schema that is none."""
    if problem := llguidance.LLMatcher.validate_grammar(grammar_of(schema)):
        raise BadInput(f"The JSON schema can't be followed: {' '.join(problem.split())}.")


@lru_cache(64)
def grammar_of(schema: str) -> str:
    try:
        # Without free white space: a small model would write nothing else.
        return str(llguidance.LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False}))
    except ValueError as error:
        raise BadInput(f"The JSON schema can't be read: {error}.") from error
