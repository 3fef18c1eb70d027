"""Is this folder a model that can run here, and are its weight files there and whole?

Reads headers, never the weights.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Literal

from phi3core.errors import SourceError

from .json_file import read_config
from .onnx_config import check_onnx_config
from .weight_headers import check_safetensors, find_external_data, refuse_pointer

ADAPTER, _INDEX = "adapter_config.json", "model.safetensors.index.json"
TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("spiece.model",), ("vocab.json", "merges.txt"))
"""The files of which a tokenizer is made, in the order in which they are looked for."""


def check_weights(folder: Path, tokenizer: Path | None = None) -> Literal["transformers", "onnx"]:
    """Say which kind of model a folder holds, after checking that it can run here and every weight file is whole.

    Args:
        tokenizer: the folder of its tokenizer, where that is another one.

    Raises:
        SourceError: the reason and the way out, as sentences.
    """
    names = {path.name for path in folder.glob("*") if path.is_file()}
    if tokenizer:
        names |= {path.name for path in tokenizer.glob("*") if path.is_file()}
    format, weights = check_listing(folder, names)
    for name in weights:
        if format == "transformers":
            check_safetensors(folder / name)
        else:
            _check_external_data(folder, folder / name)
    return format


def check_listing(folder: Path, names: Set[str]) -> tuple[Literal["transformers", "onnx"], list[str]]:
    """The kind of a model and the names of its weight files, after checking that it can run here and they are there.

    Args:
        folder: of its configuration; the weights themselves need not be in it.
        names: of all its files.

    Raises:
        SourceError: the reason and the way out, as sentences.
    """
    try:
        if "genai_config.json" in names:
            check_onnx_config(folder)
            graph = read_config(folder / "genai_config.json")["model"]["decoder"]["filename"]
            _check_there(folder, names, [graph])
            if not has_tokenizer(names):
                raise SourceError(f"{folder} has no tokenizer.json. Copy or download the model again.")
            return "onnx", [graph]
        if "config.json" in names:
            _check_causal(folder)
            if not has_tokenizer(names):
                raise SourceError(
                    f"{folder} has no tokenizer: neither tokenizer.json nor tokenizer.model. Copy it again."
                )
            return "transformers", _safetensors(folder, names)
    except (AttributeError, TypeError) as error:  # JSON of another shape than every model's
        raise SourceError(f"The configuration in {folder} makes no sense ({error}). Copy the model again.") from error
    raise SourceError(_no_model(folder, names))


def has_template(folder: Path) -> bool:
    """Whether a tokenizer's folder holds a chat template, in a file of its own or in the tokenizer's configuration."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(read_config(path).get("chat_template"))


def has_tokenizer(names: Set[str]) -> bool:
    """Whether the files of a tokenizer are among these."""
    return any(names >= set(files) for files in TOKENIZERS)


def _no_model(folder: Path, names: Set[str]) -> str:
    if ADAPTER in names:
        return f"{folder} holds an adapter and no model: it is merged into its base when it is built."
    if gguf := sorted(name for name in names if name.endswith(".gguf")):
        return (
            f"{folder} holds GGUF weights ({gguf[0]}), which are for llama.cpp and can't be built here. Choose the "
            "repository that they were made from (its weights are .safetensors), or an ONNX one."
        )
    inside = sorted(
        path.parent.name for name in ("genai_config.json", "config.json") for path in folder.glob(f"*/{name}")
    )
    there = f" Such a folder in it: {inside[0]}." if inside else ""
    return (
        f"{folder} is not a model: it has neither config.json (Transformers) nor genai_config.json "
        f"(ONNX Runtime GenAI). Point to the folder that holds one of them.{there}"
    )


def _check_causal(folder: Path) -> None:
    config = read_config(folder / "config.json")
    named = [str(name) for name in config.get("architectures") or []]
    if any(name.endswith("ForCausalLM") for name in named):
        return
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    if not any(name in CAUSAL.values() for name in named or [CAUSAL.get(config.get("model_type"), "")]):
        what = ", ".join(named) or config.get("model_type") or "nothing"
        raise SourceError(
            f"{folder} holds no causal language model: its config.json names {what}. Choose a text-generation model."
        )


def _safetensors(folder: Path, names: Set[str]) -> list[str]:
    if _INDEX in names:
        shards = sorted({str(name) for name in read_config(folder / _INDEX).get("weight_map", {}).values()})
        if not shards:
            raise SourceError(f"{folder / _INDEX} names no weight files. Copy the model again.")
        _check_there(folder, names, shards)
        return shards
    if "model.safetensors" not in names and any(name.endswith(".bin") for name in names):
        raise SourceError(
            f"{folder} holds pickled weights (.bin) only, and loading those can run code. "
            "Use a revision with safetensors."
        )
    _check_there(folder, names, ["model.safetensors"])
    return ["model.safetensors"]


def _check_there(folder: Path, names: Set[str], wanted: list[str]) -> None:
    for name in wanted:
        if name not in names:
            raise SourceError(f"The weight file {folder / name} is missing. Copy or download the model again.")


def _check_external_data(folder: Path, graph: Path) -> None:
    for data, needed in find_external_data(graph).items():
        path = folder / data
        if not path.resolve().is_relative_to(folder.resolve()) and not path.is_symlink():
            raise SourceError(
                f"{graph} names weights outside of its folder ({data}), which are not read. Put them beside it."
            )
        _check_there(folder, {data} if path.is_file() else set(), [data])
        refuse_pointer(path)
        if path.stat().st_size < needed:
            raise SourceError(
                f"The weight file {path} is damaged: it should have at least {needed:,} bytes and has "
                f"{path.stat().st_size:,}. Copy or download the model again."
            )
