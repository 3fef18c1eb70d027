"""Opens the engine of a logged model: on its weights where our wrappers made it, else through MLflow's pyfunc.

Weights are data. MLflow's pyfunc runs the code that was logged, which is refused unless the caller allows it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3core.errors import Forbidden, SourceError

from .interface import Engine
from .pipelines import is_chat_pipeline, open_chat
from .weights import open_weights

UNTRUSTED = (
    "It runs code that this app's wrappers did not write, and no admin has trusted its files as they are. An admin can "
    "do so on the version's page or by “phi3 trust {ref}”."
)


def open_artifact(folder: Path, trusted: bool = False, code: bool = False) -> Engine:
    """Load the engine for a logged model's folder (the one that holds MLmodel).

    Args:
        trusted: load pickles too, which run whatever is in them.
        code: run code that was logged with the model.

    Raises:
        SourceError: the folder holds no model, or it can't be loaded.
        Forbidden: it can't be loaded without running code.
    """
    mlmodel = _read_mlmodel(folder)
    if not code and needs_code(folder):
        raise Forbidden(UNTRUSTED.format(ref="REF"))
    ours = (mlmodel.get("metadata") or {}).get("phi3") or {}
    if ours.get("wrapper") in ("onnx", "transformers"):
        weights = find_weights(folder)
        return open_weights(weights.folder, weights.kind, weights.tokenizer, options=ours.get("options"))
    if is_chat_pipeline(folder, mlmodel):
        try:
            return open_chat(folder, mlmodel)
        except SourceError as error:
            # Not always its files' fault: its architecture may be an unknown one, or its weights a pickle.
            if not code:
                raise Forbidden(f"{error} MLflow may load it. {UNTRUSTED.format(ref='REF')}") from error
            print(f"Driven by MLflow, because our runtime can't: {error.__cause__!r}", file=sys.stderr, flush=True)
    from .pyfunc import PyfuncEngine

    # MLflow reads both at every load and call. Its own traces of a model's calls would be a second record of our turns.
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true" if trusted else "false"
    os.environ["MLFLOW_TRACE_SAMPLING_RATIO"] = "0"
    return PyfuncEngine(folder)


@dataclass(frozen=True)
class LoggedWeights:
    """The weights in a logged model of ours. kind: its wrapper. tokenizer: the folder that holds it."""

    folder: Path
    kind: str
    tokenizer: Path


def find_weights(folder: Path) -> LoggedWeights:
    """Where the weights are in the folder of a logged model. Raises SourceError where it is none of ours."""
    mlmodel = _read_mlmodel(folder)
    match ((mlmodel.get("metadata") or {}).get("phi3") or {}).get("wrapper"):
        case "onnx":
            try:
                (artifact,) = mlmodel["flavors"]["python_function"]["artifacts"].values()
            except (KeyError, TypeError, ValueError) as error:
                raise SourceError(f"{folder} is no logged model: its MLmodel file is damaged.") from error
            return LoggedWeights(folder / artifact["path"], "onnx", folder / artifact["path"])
        case "transformers":
            return LoggedWeights(folder / "model", "transformers", folder / "components" / "tokenizer")
    raise SourceError(f"{folder} is no model that our wrappers have logged.")


def needs_code(folder: Path) -> bool:
    """Whether a logged model can't be loaded without running code that is in its folder.

    Told by what `open_artifact` would do, and by no tag. Of a chat pipeline of others, which may be weights alone, it
    is known only when it is loaded. Raises SourceError where the folder holds no model.
    """
    mlmodel = _read_mlmodel(folder)
    if any(_names_library(path) for path in folder.rglob("genai_config.json")):
        return True
    return not is_ours(folder) and not is_chat_pipeline(folder, mlmodel)


def is_ours(folder: Path) -> bool:
    """Whether a logged model is opened on its weights alone. Raises SourceError where the folder holds no model."""
    metadata = _read_mlmodel(folder).get("metadata") or {}
    return (metadata.get("phi3") or {}).get("wrapper") in ("onnx", "transformers")


def _names_library(config: Path) -> bool:
    """Whether an ONNX model's configuration names machine code for the runtime to load, or can't be read."""
    try:
        text = json.dumps(json.loads(config.read_text()))
    except (OSError, ValueError):
        return True
    return re.search(r'"custom_ops_library":|\.(so(\.\d+)*|dll|dylib)"', text, re.IGNORECASE) is not None


def _read_mlmodel(folder: Path) -> dict[str, Any]:
    import yaml

    try:
        mlmodel = yaml.safe_load((folder / "MLmodel").read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SourceError(f"{folder} is no logged model: its MLmodel file can't be read ({error}).") from error
    if not isinstance(mlmodel, dict):
        raise SourceError(f"{folder} is no logged model: its MLmodel file is damaged.")
    return mlmodel
