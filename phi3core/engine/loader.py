"""Opens the engine of a logged model: on its weights where our wrappers made it, else through MLflow's pyfunc."""

from __future__ import annotations

import os
from pathlib import Path

from phi3core.errors import SourceError

from .interface import Engine
from .weights import open_weights


def open_artifact(folder: Path, trusted: bool = False) -> Engine:
    """Load the engine for a logged model's folder (the one that holds MLmodel).

    trusted: load pickles too, which run whatever is in them. Raises SourceError where the folder holds no model or it
    can't be loaded.
    """
    import yaml

    try:
        mlmodel = yaml.safe_load((folder / "MLmodel").read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SourceError(f"{folder} is no logged model: its MLmodel file can't be read ({error}).") from error
    if not isinstance(mlmodel, dict):
        raise SourceError(f"{folder} is no logged model: its MLmodel file is damaged.")
    ours = (mlmodel.get("metadata") or {}).get("phi3") or {}
    match ours.get("wrapper"):
        case "onnx":
            try:
                (artifact,) = mlmodel["flavors"]["python_function"]["artifacts"].values()
            except (KeyError, TypeError, ValueError) as error:
                raise SourceError(f"{folder} is no logged model: its MLmodel file is damaged.") from error
            return open_weights(folder / artifact["path"], "onnx", options=ours.get("options"))
        case "transformers":
            model, tokenizer = folder / "model", folder / "components" / "tokenizer"
            return open_weights(model, "transformers", tokenizer=tokenizer, options=ours.get("options"))
    from .pipelines import open_chat

    if (engine := open_chat(folder, mlmodel)) is not None:
        return engine
    from .pyfunc import PyfuncEngine

    # MLflow reads both at every load and call. Its own traces of a model's calls would be a second record of our turns.
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true" if trusted else "false"
    os.environ["MLFLOW_TRACE_SAMPLING_RATIO"] = "0"
    return PyfuncEngine(folder)
