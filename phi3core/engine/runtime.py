"""What generation needs of loaded weights: a tokenizer, and sequences of tokens that give logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .interface import Messages
from .kv_cache import Logits, Sequence, Tokens


class Runtime(Protocol):
    """Loaded weights with their tokenizer.

    templated: whether the tokenizer has a chat template. vocabulary: the number of logits. eos: ids that end an answer.
    piece: tokens read at once. token_bytes: bytes of KV cache that a token takes. slots: how many sequences there may
    be where they take memory as they grow; 0: any number, and each takes its capacity when it is made. batched: whether
    tokens of several sequences are computed together. exact: whether each gets then the logits that it has alone, to
    the last bit. rows: how many prompts `read_all` reads together at most, 0: it can't read any. divide: the most
    tokens of a prompt that it can read, 0: any number (see rotary.py).
    """

    templated: bool
    context_length: int
    vocabulary: int
    eos: frozenset[int]
    piece: int
    token_bytes: int
    slots: int
    batched: bool
    exact: bool
    rows: int
    divide: int

    def render(self, messages: Messages) -> str:
        """The prompt that the model's own chat template makes. Raises BadInput."""

    def encode(self, text: str) -> Tokens:
        """Token ids, without any that mark a beginning."""

    def text_of(self, token: int) -> str:
        """One token by itself."""

    def decoder(self) -> Callable[[int], str]:
        """Turns the tokens of one answer into text, one after the other."""

    def tokenizer_json(self) -> str:
        """The tokenizer as Hugging Face's tokenizer.json."""

    def sequence(self, capacity: int) -> Sequence:
        """An empty sequence with room for so many tokens."""

    def row(self, capacity: int) -> Sequence:
        """An empty sequence with room for so many tokens, for `read_all`."""

    def read_all(self, pieces: list[tuple[Any, Tokens]]) -> list[Logits]:
        """Run the model over a piece of each of these rows.

        Returns: for each, float32[tokens, vocabulary], the logits after each of its tokens.
        """

    def copy(self, source: Any, target: Any, length: int) -> None:
        """Let a row begin with the first tokens that another has read; for more `rows` than one."""

    def free(self) -> int:
        """Bytes left of the memory that sequences take."""
