"""Requests of the 2024 cookbook, and where a built version's files are."""

from __future__ import annotations

from pathlib import Path

from phi3core.registry import artifacts, reader
from tests.conftest import MODEL, Built

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of Spain?"}]}
PROMPT = "<|system|>You are a stand-up comedian.<|end|><|user|>Tell me a joke<|end|><|assistant|>"
CHATML = "<|im_start|>user\nWhat is the capital of Spain?<|im_end|>\n<|im_start|>assistant\n"
GREEDY = {"temperature": 0.0, "max_tokens": 12}


def folder_of(built: Built, number: int) -> Path:
    folder = artifacts.local_folder(built.settings, reader.get_version(built.settings, f"{MODEL}/{number}"))
    assert folder
    return folder
