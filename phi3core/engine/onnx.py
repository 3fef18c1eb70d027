"""ONNX as a runtime for tokens.py: a folder of onnxruntime-genai's, its tokenizer and its sequences.

Where its graph and the system allow, plain onnxruntime computes all sequences together (decoder.py), else
onnxruntime-genai each by itself. Both give the same logits to the last bit.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og
import psutil

from . import genai
from .cpu import thread_count
from .decoder import SLOTS, Decoder
from .decoder_graph import read_graph
from .genai_tokenizer import GenaiTokenizer
from .interface import Messages, template_refusal
from .kv_buffer import RoomRefused
from .kv_cache import Logits, Sequence, Tokens
from .onnx_config import check_onnx_config
from .prefill import piece_for
from .rotary import DividedSequence
from .weight_files import has_template

_ROWS = 16  # prompts that are read together


class OnnxRuntime:
    """See runtime.Runtime. Runs on CUDA where this build of onnxruntime-genai has it and there is a device."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / "genai_config.json").read_text())
        config = told["model"]
        decoder = config["decoder"]
        self.context_length = int(config["context_length"])
        self.vocabulary = int(config["vocab_size"])
        self.eos = frozenset(int(token) for token in np.atleast_1d(config["eos_token_id"]))
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        self.piece = piece_for(size, gpu=og.is_cuda_available())
        # Keys and values of every layer, as float32, which the runtime keeps on a CPU.
        self.token_bytes = 2 * 4 * decoder["num_hidden_layers"] * decoder["num_key_value_heads"] * decoder["head_size"]
        # What onnxruntime-genai's own generate goes by: the configuration does not say it.
        divide = {"phi3": 4096, "phimoe": 4096, "phi3small": 8192}.get(config["type"], 0)
        self.divide = divide if divide < self.context_length else 0
        self._folder = folder
        self.templated = has_template(folder)
        self._make: Callable[[int], Sequence]
        self._together: Decoder | None = None
        self.slots, self.batched, self.exact = 0, False, True
        self._together = self._decoder_of(told)
        if together := self._together:
            self._make = lambda _: together.row(self.divide)
            self.slots, self.batched, self.rows = SLOTS, together.together, _ROWS if together.exact else 1
            self.exact = together.exact or not together.together
        else:
            # Told, because the runtime's own guess is one thread on some machines, which halves the speed.
            overlay = {"model": {"decoder": {"session_options": {"intra_op_num_threads": thread_count()}}}}
            model = genai.Model(folder, json.dumps(overlay), cuda=og.is_cuda_available())
            self._make = lambda capacity: genai.Generator(model, capacity, self.vocabulary)
            self.rows = 1 if self._gives_all() else 0
        self._tokenizer = GenaiTokenizer(folder)

    def _gives_all(self) -> bool:
        """Whether the graph gives the logits after every token, as float32."""
        try:
            self.read_all([(self._make(4), np.zeros(2, np.int32))])
        except NotImplementedError:
            return False
        return True

    def _decoder_of(self, config: dict[str, Any]) -> Decoder | None:
        """What computes all sequences together, where this machine and this folder allow it."""
        if og.is_cuda_available() or not (graph := read_graph(self._folder, config)):
            return None
        check_onnx_config(self._folder)  # what the registered version's own code can't run is not run here either
        room = min(self.context_length, self.free() // self.token_bytes)
        try:
            return Decoder(graph, self._folder, self.vocabulary, room, thread_count(), _must_be_exact())
        except RoomRefused as error:
            told = f"Answers take turns: the system gives no room for {SLOTS} conversations, {error}"
            print(told, file=sys.stderr, flush=True)
            return None

    def render(self, messages: Messages) -> str:
        try:
            return self._tokenizer.render(messages)
        except RuntimeError as error:
            raise template_refusal(error) from error

    def encode(self, text: str) -> np.ndarray[Any, Any]:
        return self._tokenizer.encode(text)

    def text_of(self, token: int) -> str:
        return self._added.get(token) or self._tokenizer.decode(token)

    @cached_property
    def _added(self) -> dict[int, str]:
        """The special tokens, which the tokenizer does not decode."""
        return {added["id"]: added["content"] for added in json.loads(self.tokenizer_json())["added_tokens"]}

    def decoder(self) -> Callable[[int], str]:
        return self._tokenizer.decoder()

    def tokenizer_json(self) -> str:
        return (self._folder / "tokenizer.json").read_text()

    def free(self) -> int:
        if self._together:
            self._together.give_back_ended()
        return psutil.virtual_memory().available  # on CUDA too, where nothing tells without PyTorch

    def sequence(self, capacity: int) -> Sequence:
        made = self._make(capacity)
        return DividedSequence(made, self.divide) if self.divide else made

    def row(self, capacity: int) -> Sequence:
        return self._make(capacity)

    def read_all(self, pieces: list[tuple[Any, Tokens]]) -> list[Logits]:
        if self._together:
            return self._together.read_all(pieces)
        return [row.append_all(tokens) for row, tokens in pieces]

    def copy(self, source: Any, target: Any, length: int) -> None:
        if self._together:
            self._together.copy(source, target, length)


def _must_be_exact() -> bool:
    """Whether nobody's answer may depend on who else is there, at whatever speed."""
    return os.environ.get("PHI3_EXACT") == "1"
