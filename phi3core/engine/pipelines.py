"""Opens chat pipelines that another program logged with mlflow.transformers, on our own runtime where it takes them.

Their pyfunc could neither stream nor tell why an answer ended.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phi3core.errors import BadInput

from .interface import Engine, Options
from .weights import open_weights

# What transformers' text-generation pipeline does where neither the model nor its caller says anything else.
_PIPELINE = Options(max_tokens=256, temperature=0.7, top_p=1.0, top_k=50)
_NAMES = {
    "max_tokens": "max_new_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repetition_penalty",
}


def open_chat(folder: Path, mlmodel: dict[str, Any]) -> Engine:
    """The engine of a logged chat pipeline. Raises SourceError where our runtime can't take it."""
    flavors, weights = mlmodel["flavors"], folder / "model"
    own = _options(weights, (flavors.get("python_function") or {}).get("config"))
    return open_weights(weights, "transformers", tokenizer=folder / "components" / "tokenizer", options=own)


def is_chat_pipeline(folder: Path, mlmodel: dict[str, Any]) -> bool:
    """Whether a logged model says that it is a chat pipeline, and has weights that our runtime may take."""
    flavors = mlmodel.get("flavors") or {}
    task = (flavors.get("transformers") or {}).get("inference_task")
    return task == "llm/v1/chat" and any((folder / "model").glob("*.safetensors"))


def _options(weights: Path, logged: Any) -> dict[str, Any]:
    """The model's own: what it was logged with, then its generation config, then what its pipeline would do."""
    configured = _generation_config(weights) | (logged if isinstance(logged, dict) else {})
    options = _PIPELINE
    for ours, theirs in _NAMES.items():
        try:
            options = options.but(**{ours: _NUMBERS[ours](configured[theirs])})
        except (BadInput, KeyError, TypeError, ValueError):
            continue  # not configured, or a value of its own that means “off”, such as a top_k of 0
    sampled = configured.get("do_sample") is not False
    return {name: getattr(options, name) for name in _NAMES} | ({} if sampled else {"temperature": 0.0})


_NUMBERS: dict[str, Any] = {name: type(getattr(_PIPELINE, name)) for name in _NAMES}


def _generation_config(weights: Path) -> dict[str, Any]:
    try:
        found = json.loads((weights / "generation_config.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
