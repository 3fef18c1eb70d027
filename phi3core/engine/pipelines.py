"""Opens chat pipelines that another program logged with mlflow.transformers, on our own runtime where it takes them.

Their pyfunc could neither stream nor tell why an answer ended.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from phi3core.errors import BadInput, SourceError

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


def open_chat(folder: Path, mlmodel: dict[str, Any]) -> Engine | None:
    """The engine of a logged chat pipeline, None where it is none or our runtime can't take it.

    That need not be its files' fault: its architecture may be an unknown one, or its weights a pickle.
    """
    flavors = mlmodel.get("flavors") or {}
    weights = folder / "model"
    if (flavors.get("transformers") or {}).get("inference_task") != "llm/v1/chat":
        return None
    if not any(weights.glob("*.safetensors")):
        return None
    own = _options(weights, (flavors.get("python_function") or {}).get("config"))
    try:
        return open_weights(weights, "transformers", tokenizer=folder / "components" / "tokenizer", options=own)
    except SourceError as error:
        print(f"Driven by MLflow, because our runtime can't: {error.__cause__!r}", file=sys.stderr, flush=True)
    return None


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
