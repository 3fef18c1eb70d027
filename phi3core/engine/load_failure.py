"""Why a model can't be loaded, and what to do instead: what the runtimes say, as sentences.

Each kind of failure has a sentence of its own. A file is called damaged only where its header or a check of its own
says so; what is known of no kind is told as the runtime told it.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from phi3core.errors import SourceError
from phi3core.installed import genai_version

from .onnx_config import explain_onnx
from .weight_files import check_weights

_ORIGINAL = "Choose the weights that it was made from, unquantised."


def explain_failure(folder: Path, kind: str, tokenizer: Path, error: Exception) -> str:
    """A sentence or two for an error that a runtime raised while it loaded a model.

    Args:
        folder: where the weights are.
        kind: ``onnx`` or ``transformers``.
        tokenizer: the folder of the tokenizer.
        error: what was raised; only its text and its type are read.
    """
    if isinstance(error, SourceError):
        return str(error)
    try:
        check_weights(folder, tokenizer)  # what is wrong with the files tells more than what came of it
    except SourceError as found:
        return str(found)
    text = str(error).strip()
    if isinstance(error, MemoryError) or re.search(r"bad_alloc|out of memory|allocate (memory|\d)", text, re.I):
        return "Memory ran out while it was loading. Close other programs, or choose a smaller model."
    known = explain_onnx(text) if kind == "onnx" else explain_transformers(folder, error)
    return known or f"{_library(kind)} says: {first_line(error)} Try the other wrapper, or other weights of this model."


def explain_transformers(folder: Path, error: Exception) -> str:
    """The sentence for what transformers raised about a folder; empty for what is of no known kind."""
    text, config = str(error), _config(folder)
    quantised = (config.get("quantization_config") or {}).get("quant_method")
    model_type = config.get("model_type")
    if "trust_remote_code" in text:
        return (
            f"Its architecture ({model_type}) is Python code in its own repository, which this app does not run. "
            "Choose a model whose type Transformers has by itself."
        )
    if quantised:
        return (
            f"Its weights are quantised ({quantised}), and Transformers can't read these here: {first_line(error)} "
            f"{_ORIGINAL}"
        )
    if re.search(r"does not recognize this architecture|Unrecognized model", text):
        return (
            f"{_library('transformers')} does not know its model type “{model_type}”. Choose a model of a type that it "
            "knows, or wait for a release of this app with a newer one."
        )
    if "AutoModelForCausalLM" in text and "Unrecognized configuration class" in text:
        return f"It is no causal language model ({model_type}). Choose a text-generation model."
    if "ignore_mismatched_sizes" in text or "size mismatch" in text:
        return "Its weights and its config.json do not belong together: shapes differ. Copy the model again."
    if re.search(r"[Tt]okenizer|sentencepiece|SentencePiece|tiktoken", text):
        return f"Its tokenizer can't be read: {first_line(error)} Copy the tokenizer's files again."
    if isinstance(error, ImportError):
        return f"It needs a package that is not installed: {first_line(error)}"
    return ""


def first_line(error: Exception | str) -> str:
    """The first line of an error's text, short, with a full stop; the error's name where it has no text."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()[:300].rstrip(". ") + "."


def _library(kind: str) -> str:
    return f"onnxruntime-genai {genai_version()}" if kind == "onnx" else f"Transformers {version('transformers')}"


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
