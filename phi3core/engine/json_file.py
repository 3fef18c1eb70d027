"""Reads a model's JSON files, which may hold anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phi3core.errors import SourceError


def read_config(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises SourceError."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} can't be read as JSON ({error}). Copy the model again.") from error
    if not isinstance(value, dict):
        raise SourceError(f"{path} holds no JSON object. Copy the model again.")
    return value
