"""Models as they are read here: the logits after every token of a passage, and greedy answers.

They are a stranger's, so that only processes in a cell come here (`reading.py`, `comparing.py`).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from phi3core.engine.json_file import read_config
from phi3core.engine.kv_cache import Logits, Tokens
from phi3core.engine.runtime import Runtime
from phi3core.engine.weights import open_runtime

PIECE = 512
"""Tokens whose logits are in memory at a time. Matrices are widened once for each piece (`widen`)."""


def open_exact(folder: Path) -> Runtime:
    """Weights in Hugging Face's format, computed in float32 and held as they are stored.

    So nothing is rounded that the weights have not rounded already, in the memory that their files take.
    """
    config = read_config(folder / "config.json")
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    runtime = open_runtime(folder, "transformers", precision=stored)
    widen(runtime.model)  # type: ignore[attr-defined]
    return runtime


def widen(model: Any) -> None:
    """Have a PyTorch model compute in float32, whatever its weights are stored in.

    Matrices, which are nearly all of a model, stay as they are stored and are widened one by one while it computes.
    """
    import torch

    def multiply(self: Any, values: Any) -> Any:
        bias = None if self.bias is None else self.bias.float()
        return torch.nn.functional.linear(values.float(), self.weight.float(), bias)

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = types.MethodType(multiply, module)
        elif isinstance(module, torch.nn.Embedding):
            module.register_forward_hook(lambda _module, _taken, given: given.float())
        else:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.float()


def read_whole(runtime: Runtime, tokens: Tokens) -> Iterator[Logits]:
    """Read a passage: float32[n, vocabulary] for piece after piece, the logits after each of its tokens."""
    row = runtime.row(len(tokens))
    for piece in pieces(tokens):
        yield runtime.read_all([(row, piece)])[0]


def predict(runtime: Runtime, texts: Sequence[Tokens]) -> list[Tokens]:
    """The likeliest token after each token of these texts, several at a time where PyTorch computes them."""
    if not hasattr(runtime, "model"):
        return [np.concatenate([piece.argmax(axis=1) for piece in read_whole(runtime, text)]) for text in texts]
    found: list[Tokens] = []
    for batch in _batches(texts):
        found += _predict_batch(runtime.model, batch)
    return found


def _batches(texts: Sequence[Tokens]) -> Iterator[list[Tokens]]:
    """In their order, `PIECE` tokens at most in each, or a single text."""
    batch: list[Tokens] = []
    for text in texts:
        longest = max(map(len, [*batch, text]))
        if batch and longest * (len(batch) + 1) > PIECE:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


def _predict_batch(model: Any, batch: Sequence[Tokens]) -> list[Tokens]:
    """Filled up on the right, which no token before it sees."""
    import torch

    ids = torch.zeros((len(batch), max(map(len, batch))), dtype=torch.long)
    for row, text in enumerate(batch):
        ids[row, : len(text)] = torch.as_tensor(np.asarray(text, np.int64))
    with torch.inference_mode():
        likeliest = model(input_ids=ids.to(model.device), use_cache=False).logits.argmax(dim=-1).cpu().numpy()
    return [likeliest[row, : len(text)] for row, text in enumerate(batch)]


def pieces(tokens: Tokens) -> list[Tokens]:
    """Of `PIECE` tokens at most and none of a single one, for which the runtimes round differently."""
    count = max(1, -(-len(tokens) // PIECE))
    return [tokens[len(tokens) * at // count : len(tokens) * (at + 1) // count] for at in range(count)]


def answer_greedily(
    runtime: Runtime, prompts: Sequence[Tokens], length: int, report: Callable[[float], None]
) -> list[list[int]]:
    """The likeliest token, again and again, of all prompts together where the runtime computes them so.

    An answer ends with a token that ends answers, which is part of it, or after `length` tokens.

    Args:
        report: told how far it is, 0 to 1.
    """
    if hasattr(runtime, "model") and prompts:
        return _generate(runtime, prompts, length)
    answers: list[list[int]] = [[] for _ in prompts]
    rows = []
    for prompt in prompts:
        row = runtime.sequence(len(prompt) + length)
        if len(prompt) > 1:
            row.append(prompt[:-1])
        row.append_one(int(prompt[-1]))
        rows.append(row)
    going = list(range(len(rows)))
    for step in range(length):
        still = []
        for at in going:
            token = int(rows[at].logits().argmax())
            answers[at].append(token)
            if token not in runtime.eos:
                still.append(at)
        going = still
        if step + 1 < length:
            for at in going:  # all of them before the first is asked for, so that they are computed together
                rows[at].append_one(answers[at][-1])
        report((step + 1) / length)
    return answers


def _generate(runtime: Runtime, prompts: Sequence[Tokens], length: int) -> list[list[int]]:
    """The same by transformers' own `generate`, which computes a batch of prompts filled up on the left."""
    import torch

    model: Any = runtime.model  # type: ignore[attr-defined]
    longest, filler = max(map(len, prompts)), min(runtime.eos, default=0)
    ids = torch.full((len(prompts), longest), filler)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.as_tensor(np.asarray(prompt, np.int64))
        mask[row, longest - len(prompt) :] = 1
    greedy = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "temperature": None, "top_p": None}
    ends = {"eos_token_id": sorted(runtime.eos) or None, "pad_token_id": filler}
    given = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
    with torch.inference_mode():
        made = model.generate(**given, max_new_tokens=length, top_k=None, **greedy, **ends)
    rows = made[:, longest:].tolist()
    return [row[: next((at + 1 for at, token in enumerate(row) if token in runtime.eos), len(row))] for row in rows]
