"""Is this folder a model, and are its weight files there and whole? Headers are read, never the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from phi3core.errors import SourceError


def check_weights(folder: Path) -> Literal["transformers", "onnx"]:
    """Say which kind of model a folder holds, after checking that every weight file is there and whole.

    Reads headers only, never the weights themselves. Raises SourceError.
    """
    try:
        if (folder / "genai_config.json").is_file():
            _check_onnx(folder)
            return "onnx"
        if (folder / "config.json").is_file():
            _check_transformers(folder)
            return "transformers"
    except (AttributeError, TypeError) as error:  # JSON of another shape than every model's
        raise SourceError(f"The configuration in {folder} makes no sense ({error}). Copy the model again.") from error
    raise SourceError(
        f"{folder} is not a model: it has neither config.json (Transformers) nor genai_config.json "
        "(ONNX Runtime GenAI). Point to the folder that holds one of them."
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} can't be read as JSON ({error}). Copy the model again.") from error
    if not isinstance(value, dict):
        raise SourceError(f"{path} holds no JSON object. Copy the model again.")
    return value


def _check_transformers(folder: Path) -> None:
    config = _json(folder / "config.json")
    if not any(str(name).endswith("ForCausalLM") for name in config.get("architectures") or []):
        raise SourceError(
            f"{folder} holds no causal language model: its config.json names {config.get('architectures')}. "
            "Choose a text-generation model."
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise SourceError(f"{folder} has no tokenizer (tokenizer.json or tokenizer.model). Copy the model again.")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted({str(name) for name in _json(index).get("weight_map", {}).values()})
        if not names:
            raise SourceError(f"{index} names no weight files. Copy the model again.")
    elif (folder / "model.safetensors").is_file() or not list(folder.glob("*.bin")):
        names = ["model.safetensors"]
    else:
        raise SourceError(
            f"{folder} holds pickled weights (.bin) only, and loading those can run code. "
            "Use a revision with safetensors."
        )
    for name in names:
        _check_safetensors(folder / name)


def _check_safetensors(path: Path) -> None:
    """The header tells how long the file must be (huggingface/safetensors, format description)."""
    if not path.is_file():
        raise SourceError(f"The weight file {path} is missing. Copy or download the model again.")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise ValueError("the header runs past the end of the file")
            header = json.loads(file.read(length))
        ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
        if 8 + length + max(ends) != size:
            raise ValueError(f"it should have {8 + length + max(ends):,} bytes and has {size:,}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"The weight file {path} is damaged: {error}. Copy or download the model again.") from error


def _check_onnx(folder: Path) -> None:
    config = _json(folder / "genai_config.json")
    model = config.get("model") or {}
    decoder = model.get("decoder") if isinstance(model, dict) else None
    name = decoder.get("filename") if isinstance(decoder, dict) else None
    if not isinstance(name, str):
        raise SourceError(f"{folder / 'genai_config.json'} names no model.decoder.filename. Copy the model again.")
    graph = folder / name
    if not graph.is_file():
        raise SourceError(f"The weight file {graph} is missing. Copy or download the model again.")
    if not (folder / "tokenizer.json").is_file():
        raise SourceError(f"{folder} has no tokenizer.json. Copy or download the model again.")
    for data, needed in _external_data(graph).items():
        path = folder / data
        if not path.is_file():
            raise SourceError(f"The weight file {path} is missing. Copy or download the model again.")
        if path.stat().st_size < needed:
            raise SourceError(
                f"The weight file {path} is damaged: it should have at least {needed:,} bytes and has "
                f"{path.stat().st_size:,}. Copy or download the model again."
            )


def _external_data(graph: Path) -> dict[str, int]:
    """File names an ONNX graph keeps its tensors in, with the bytes each must at least have."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        model = onnx.load(str(graph), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError has no common base with OSError
        raise SourceError(f"The weight file {graph} is damaged: {error}. Copy or download the model again.") from error
    needed: dict[str, int] = {}
    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            info = ExternalDataInfo(tensor)
            end = int(info.offset or 0) + int(info.length or 0)
            needed[info.location] = max(needed.get(info.location, 0), end)
    return needed
