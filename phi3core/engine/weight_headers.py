"""The headers of weight files: how long a file must be, and whether it is one at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phi3core.errors import SourceError

from .json_file import read_config

_LFS = b"version https://git-lfs.github.com/spec/"


def check_safetensors(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: for each tensor its dtype, shape and place in the file.

    It tells how long the file must be (huggingface/safetensors, format description).

    Raises:
        SourceError: the file is missing, damaged or a pointer of Git LFS.
    """
    if not path.is_file():
        raise SourceError(f"The weight file {path} is missing. Copy or download the model again.")
    refuse_pointer(path)
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise ValueError("the header runs past the end of the file")
            header = json.loads(file.read(length))
        tensors = {name: value for name, value in header.items() if name != "__metadata__"}
        end = 8 + length + max(value["data_offsets"][1] for value in tensors.values())
        if end != size:
            raise ValueError(f"it should have {end:,} bytes and has {size:,}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"The weight file {path} is damaged: {error}. Copy or download the model again.") from error
    return tensors


def tensor_names(folder: Path) -> set[str]:
    """The tensors of a folder's safetensors, by its index or else their headers; none where neither is there."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return set(read_config(index).get("weight_map") or {})
    return {name for path in folder.glob("*.safetensors") for name in check_safetensors(path)}


def find_external_data(graph: Path) -> dict[str, int]:
    """File names an ONNX graph keeps its tensors in, with the bytes each must at least have. Raises SourceError."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    refuse_pointer(graph)
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


def refuse_pointer(path: Path) -> None:
    """Raise SourceError where Git LFS left its pointer in the place of a file."""
    with path.open("rb") as file:
        pointer = file.read(len(_LFS)) == _LFS
    if pointer:
        raise SourceError(
            f"The weight file {path} is damaged: a pointer of Git LFS stands in its place. Run “git lfs pull” in that "
            "folder, or download the model again."
        )
