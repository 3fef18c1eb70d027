"""onnxruntime-genai's tokenizer and chat template, for every text.

Its C interface takes a NUL for the end of a text, and gives -1 for a character that the vocabulary has no token for.
Here a NUL is read as the tokenizer.json says, and what has no token is left out, both as transformers does it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og

from .interface import Messages

_CONTROL = [*range(1, 9), *range(14, 32)]  # no white space


class GenaiTokenizer:
    """The tokenizer of an ONNX folder. Raises RuntimeError where the folder has none that can be read."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = og.Tokenizer(str(folder))
        self._mark, self._mark_id, self._nul_id = self._find_mark()

    def render(self, messages: Messages) -> str:
        """The prompt that the folder's chat template makes. Raises RuntimeError where the template refuses them."""
        mark = uuid.uuid4().hex
        marked = [{name: text.replace("\0", mark) for name, text in message.items()} for message in messages]
        rendered = self._tokenizer.apply_chat_template(json.dumps(marked), add_generation_prompt=True)
        return str(rendered).replace(mark, "\0")

    def encode(self, text: str) -> np.ndarray[Any, Any]:
        """The text's token ids, int32."""
        ids = np.asarray(self._tokenizer.encode(text.replace("\0", self._mark)), np.int32)
        if "\0" in text and self._mark:
            places = np.flatnonzero(ids == self._mark_id)
            marks = [letter for letter in text if letter in ("\0", self._mark)]
            if len(places) == len(marks):  # else some are parts of longer tokens, and stay as they are
                ids[places[[mark == "\0" for mark in marks]]] = self._nul_id
        return ids[ids >= 0]

    def decode(self, token: int) -> str:
        """One token by itself."""
        return "\0" if token == self._nul_id else str(self._tokenizer.decode(np.array([token], np.int32)))

    def decoder(self) -> Callable[[int], str]:
        """Turns the tokens of one text into its pieces, one after the other."""
        stream = self._tokenizer.create_stream()
        return lambda token: "\0" if token == self._nul_id else stream.decode(token)

    def _find_mark(self) -> tuple[str, int, int]:
        """A character to write in place of NUL, its token and NUL's; empty where the vocabulary has no NUL.

        Both are single bytes that have tokens of their own, under the names of either kind of byte-wise vocabulary.
        """
        number = self._tokenizer.to_token_id
        for name in ("<0x{:02X}>".format, lambda byte: chr(256 + byte)):
            for code in _CONTROL:
                found = self._tokenizer.encode(chr(code))
                if len(found) and found[-1] == number(name(code)) >= 0 and number(name(0)) >= 0:
                    return chr(code), int(found[-1]), number(name(0))
        return "", -1, -1
