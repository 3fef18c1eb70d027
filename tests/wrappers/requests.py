"""Requests of the 2024 cookbook."""

from __future__ import annotations

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of Spain?"}]}
PROMPT = "<|system|>You are a stand-up comedian.<|end|><|user|>Tell me a joke<|end|><|assistant|>"
CHATML = "<|im_start|>user\nWhat is the capital of Spain?<|im_end|>\n<|im_start|>assistant\n"
GREEDY = {"temperature": 0.0, "max_tokens": 12}
