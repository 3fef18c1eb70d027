"""Opens the token engine of an ONNX or a Transformers folder, each on its runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi3core.errors import SourceError
from phi3core.garbage import import_libraries

from .interface import Engine, Options
from .runtime import Runtime


def open_weights(
    folder: Path,
    kind: str,
    tokenizer: Path | None = None,
    precision: str = "auto",
    options: dict[str, Any] | None = None,
) -> Engine:
    """Load an ONNX or a Transformers folder. Raises SourceError where it can't be loaded."""
    from .tokens import TokenEngine

    defaults = Options(**{**(options or {}), "stop": tuple((options or {}).get("stop") or ())})
    return TokenEngine(open_runtime(folder, kind, tokenizer, precision), defaults)


def open_runtime(folder: Path, kind: str, tokenizer: Path | None = None, precision: str = "auto") -> Runtime:
    """The same, without the engine that generates on it."""
    try:
        if kind == "onnx":
            from .onnx import OnnxRuntime

            return OnnxRuntime(folder)
        import_libraries("phi3core.engine.transformers")
        from .transformers import TransformersRuntime

        return TransformersRuntime(folder, tokenizer or folder, precision)
    except Exception as error:  # the runtimes and their file formats have no common base
        from .load_failure import explain_failure

        reason = explain_failure(folder, kind, tokenizer or folder, error)
        raise SourceError(f"The model can't be loaded. {reason}") from error
