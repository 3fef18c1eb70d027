"""What the Python scripts here share: one line of JSON for each thing that a client is asked to do.

BASE, REF and NO_OPTIONS of the environment say where the app is, which version is asked, and which takes no options.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

BASE = os.environ.get("BASE", "http://localhost:8501/v1")
REF = os.environ.get("REF", "phi3-embedded/2")
NO_OPTIONS = os.environ.get("NO_OPTIONS", "no-options/1")
QUESTION = "What is the capital of Spain?"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER = {"name": "weather", "description": "The weather.", "parameters": {"type": "object", "properties": {}}}


def case(name: str, work: Callable[[], Any]) -> None:
    """Do it and say what came of it: it works where something came back, and is refused where the app says 4xx."""
    try:
        found = work()
        result, detail = ("works", repr(found)) if found else ("fails", f"nothing came back: {found!r}")
    except Exception as error:
        status = getattr(error, "status_code", None)
        result, detail = "refused" if status and 400 <= status < 500 else "fails", f"{type(error).__name__}: {error}"
    print(json.dumps({"case": name, "result": result, "detail": detail[:300]}), flush=True)


def pieces(texts: list[str]) -> str:
    """The text of a stream, which must have come in several pieces."""
    assert sum(map(bool, texts)) > 1, f"it came in one piece: {texts}"
    return "".join(texts)
