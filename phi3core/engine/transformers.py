"""transformers as a runtime for tokens.py: a safetensors folder, its tokenizer and its sequences."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from tokenizers.decoders import DecodeStream
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from phi3core.errors import SourceError

from .architecture import context_length, eos_ids, token_values
from .cpu import cpu_dtype
from .interface import Messages, template_refusal
from .kv_cache import Logits, Sequence, Tokens
from .prefill import piece_for
from .rotary import DividedSequence

_GPU = Path("/dev/nvidiactl")


class TransformersRuntime:
    """See runtime.Runtime. precision ``auto`` takes what the weights were saved in, where the machine has it.

    model: PyTorch's.
    """

    slots, batched, exact, rows = 0, False, True, 1

    def __init__(self, folder: Path, tokenizer: Path, precision: str) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu" and torch.version.cuda and _GPU.exists():
            print(f"Runs on the processor: PyTorch can't use the GPU that {_GPU} stands for.", file=sys.stderr)
        dtype = "auto" if precision == "auto" else getattr(torch, precision)
        model, loaded = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        if missing := sorted(loaded["missing_keys"]):  # transformers would go on with random numbers in their place
            raise SourceError(
                f"Its weight files lack {len(missing)} of the tensors that its config.json calls for, {missing[0]} "
                "among them: they belong to another model or to an adapter. Copy the model again."
            )
        if precision == "auto" and device == "cpu":
            model = model.to(getattr(torch, cpu_dtype(str(model.dtype).removeprefix("torch."))))
        self.model = model.to(device).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
        if not self._tokenizer.is_fast:
            raise SourceError(f"{tokenizer} has a tokenizer without a tokenizer.json. Copy the model again.")
        self.templated = bool(self._tokenizer.chat_template)
        config = self.model.config.get_text_config()
        self.context_length = context_length(config, self._tokenizer)
        self.vocabulary = int(config.vocab_size)
        self.eos = eos_ids(self.model.generation_config, self._tokenizer)
        size = sum(weight.numel() * weight.element_size() for weight in self.model.parameters())
        self.piece = piece_for(size, gpu=device == "cuda")
        self.token_bytes = token_values(config) * self.model.dtype.itemsize
        rope = getattr(config, "rope_parameters", None) or {}
        longrope = rope.get("rope_type") == "longrope"
        self.divide = int(rope.get("original_max_position_embeddings") or 0) if longrope else 0

    def render(self, messages: Messages) -> str:
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # jinja2's TemplateError, raised by the template itself
            raise template_refusal(error) from error

    def encode(self, text: str) -> np.ndarray[Any, Any]:
        return np.asarray(self._tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)

    def text_of(self, token: int) -> str:
        # After another token, because Llama's tokenizers, Phi-3's among them, strip the space that begins a text.
        before = self._tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
        return str(self._tokenizer.decode([*before, token]))[len(str(self._tokenizer.decode(before))) :]

    def decoder(self) -> Callable[[int], str]:
        stream, fast = DecodeStream(skip_special_tokens=True), self._tokenizer.backend_tokenizer
        return lambda token: stream.step(fast, token) or ""

    def tokenizer_json(self) -> str:
        return str(self._tokenizer.backend_tokenizer.to_str())

    def free(self) -> int:
        on_gpu = self.model.device.type == "cuda"
        return int(torch.cuda.mem_get_info()[0]) if on_gpu else psutil.virtual_memory().available

    def sequence(self, capacity: int) -> Sequence:  # its cache grows as it is filled
        made = _Sequence(self.model)
        return DividedSequence(made, self.divide) if self.divide else made

    def row(self, capacity: int) -> _Sequence:
        return _Sequence(self.model)

    def read_all(self, pieces: list[tuple[_Sequence, Tokens]]) -> list[Logits]:
        return [row.append_all(tokens) for row, tokens in pieces]

    def copy(self, source: _Sequence, target: _Sequence, length: int) -> None:
        raise NotImplementedError("There is one row.")


class _Sequence:
    """Tokens with their KV cache.

    The cache keeps every layer whole: the attention mask bounds a sliding window, and what has slid out comes back when
    the sequence is rewound.
    """

    inseparable = 0

    def __init__(self, model: Any) -> None:
        self._model, self._cache = model, DynamicCache()
        self._logits: Any = None
        self._waiting: int | None = None  # a token, computed when its logits are asked for

    def append(self, tokens: np.ndarray[Any, Any]) -> None:
        self._read(tokens, 1)

    def append_all(self, tokens: np.ndarray[Any, Any]) -> Logits:
        """The same, with the logits after each token."""
        return np.array(self._read(tokens, 0).float().cpu().numpy())

    def _read(self, tokens: np.ndarray[Any, Any], keep: int) -> Any:
        """Logits after the last tokens, as many as are to be kept; 0: after all."""
        self._compute()
        with torch.inference_mode():
            ids = torch.as_tensor(tokens, dtype=torch.long, device=self._model.device)[None]
            out = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=keep)
            self._logits = out.logits[0, -1]
            return out.logits[0]

    def append_one(self, token: int) -> None:
        self._compute()
        self._waiting = token

    def _compute(self) -> None:
        if (token := self._waiting) is not None:
            self._waiting = None
            self.append(np.array([token]))

    def logits(self) -> np.ndarray[Any, Any]:
        self._compute()
        return np.array(self._logits.float().cpu().numpy())

    def rewind(self, length: int) -> None:
        surplus = self._cache.get_seq_length() - length
        if surplus >= 0:
            self._waiting = None
        if surplus > 0:
            self._cache.crop(-surplus)
