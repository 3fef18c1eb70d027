"""What a Hugging Face configuration tells of its model, also where its architecture calls things otherwise."""

from __future__ import annotations

from typing import Any

_NO_LIMIT = 10**9  # tokenizers write “none” as a number above this
_CONTEXT = 2048  # tokens, where neither model nor tokenizer tells


def context_length(config: Any, tokenizer: Any) -> int:
    """Some architectures have no last position: their tokenizer may tell what they were trained with."""
    for name in ("max_position_embeddings", "seq_length", "max_seq_len"):
        if length := getattr(config, name, None):
            return int(length)
    return int(tokenizer.model_max_length) if tokenizer.model_max_length < _NO_LIMIT else _CONTEXT


def token_values(config: Any) -> int:
    """How many numbers a token adds to the KV cache; older architectures keep as many heads as they ask with."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size)


def eos_ids(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end an answer; none where neither tells any."""
    eos = generation_config.eos_token_id
    eos = tokenizer.eos_token_id if eos is None else eos
    return frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos])
