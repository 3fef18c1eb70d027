"""How much memory a version will take, guessed from its files before it is loaded, and how much is free.

Knows nothing of processes. All sizes are in bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from phi3core import tags
from phi3core.engine.architecture import token_values
from phi3core.engine.cpu import cpu_dtype

# Resident beyond weights and conversations, measured on the default model and rounded up: Python, FastAPI and
# onnxruntime; with torch and transformers; with mlflow, pandas and the libraries that a custom model brings.
_OVERHEAD = {"onnx": 250_000_000, "transformers": 600_000_000, "": 500_000_000}
# What a usual conversation takes, whatever the model allows. The engine grows into what is free (engine/kv_cache.py).
_TOKENS = 2048


def needed(folder: Path | None, size: int, wrapper: str) -> int:
    """What a model server will take: weights, libraries, and one conversation where the model's files tell its size.

    size: of all files of the version. folder: where they are; None when they are still to be downloaded.
    """
    overhead = _OVERHEAD.get(wrapper, _OVERHEAD[""])
    try:
        if wrapper == "onnx" and folder:
            return size + overhead + _of_onnx(folder)
        if wrapper == "transformers" and folder:
            config = json.loads((folder / "model" / "config.json").read_text())
            saved = str(config.get("dtype") or config.get("torch_dtype"))
            computed = saved if _has_gpu() else cpu_dtype(saved)
            return size * _width(computed) // _width(saved) + overhead + _of_transformers(config, _width(computed))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # damaged or unusual: loading it will tell, and with more words
    return size + overhead


def ceiling(need: int) -> int:
    """The most that the process of a model which somebody else wrote may take: far more than it is estimated to."""
    return 3 * need + 4_000_000_000


def available() -> int:
    """What new processes may take: what the machine has left, or this container where that is less."""
    return max(0, min([psutil.virtual_memory().available, *_left_in_groups()]))


def format_size(size: float, of: float | None = None) -> str:
    """A size as people write it, ``7.2 GB``; with ``of`` a part of it, ``2.3 of 7.2 GB``."""
    whole = size if of is None else of
    unit, name, digits = (1e9, "GB", 1) if whole >= 1e9 else (1e6, "MB", 0)
    part = f"{size / unit:,.{digits}f}"
    return f"{part} {name}" if of is None else f"{part} of {of / unit:,.{digits}f} {name}"


def _of_onnx(folder: Path) -> int:
    """Keys and values of every layer for a usual conversation."""
    config = json.loads((folder / "artifacts" / tags.ONNX_ARTIFACT / "genai_config.json").read_text())["model"]
    decoder = config["decoder"]
    tokens = min(int(config["context_length"]), _TOKENS)
    values = decoder["num_hidden_layers"] * decoder["num_key_value_heads"] * decoder["head_size"]
    return int(tokens * 2 * 4 * values)  # kept as float32 on a CPU


def _of_transformers(config: dict[str, Any], width: int) -> int:
    tokens = min(int(config["max_position_embeddings"]), _TOKENS)
    return tokens * width * token_values(SimpleNamespace(**config))


def _width(dtype: str) -> int:
    """Bytes of a number."""
    return 4 if "32" in dtype else 2


def _has_gpu() -> bool:
    return Path("/dev/nvidia0").exists()


def _left_in_groups(root: Path = Path("/")) -> Iterator[int]:
    """What is left of every memory limit that holds this process: of Linux's control groups, both generations."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            yield from _left(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(root / "sys/fs/cgroup/memory", path, *names)


def _left(mount: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    inner = mount / path.lstrip("/")
    # In a container the path may be the host's, and the mount shows our own group at its root.
    for group in (inner, *inner.parents):
        try:
            most = (group / limit).read_text().strip()
            if most != "max":
                stat = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
                used = int((group / usage).read_text()) - int(stat.get(reclaimable, 0))
                yield int(most) - used
        except (OSError, ValueError):
            pass  # not there for this group
        if group == mount:
            return
