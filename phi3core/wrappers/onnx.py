"""Logs an ONNX folder as an MLflow model: onnx_model.py, the weights as artifact `phi3-mini-onnx`, a signature."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phi3core import tags
from phi3core.installed import genai_version

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

TEMPLATE = Path(__file__).with_name("onnx_model.py")
SIGNATURES = ("prompt", "chat")

CHAT_EXAMPLE = {"messages": [{"role": "user", "content": "What is the capital of Spain?"}]}
PROMPT_EXAMPLE = {"prompt": "<|system|>You are a stand-up comedian.<|end|><|user|>Tell me a joke<|end|><|assistant|>"}


def log_onnx_model(
    folder: Path, signature: Literal["prompt", "chat"], options: dict[str, Any], metadata: dict[str, Any]
) -> ModelInfo:
    """Log the folder in the active run. Changes the process's working directory while it does.

    options: the generation options a caller may leave out, all of them: max_tokens, temperature, top_p, top_k, min_p,
    repetition_penalty, seed (-1: a new one each time), stop. They become the signature's parameters (prompt) or
    the model's configuration (chat, whose requests carry their own).
    """
    import mlflow

    # MLflow writes the paths that it is given into the model, where its users read them: so they are relative.
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        shutil.copy(TEMPLATE, TEMPLATE.name)
        shutil.copytree(folder, tags.ONNX_ARTIFACT, copy_function=_link)
        logged: ModelInfo = mlflow.pyfunc.log_model(
            name=tags.ONNX_ARTIFACT,
            python_model=TEMPLATE.name,
            artifacts={tags.ONNX_ARTIFACT: tags.ONNX_ARTIFACT},
            signature=_chat_signature() if signature == "chat" else _prompt_signature(options),
            input_example=CHAT_EXAMPLE if signature == "chat" else PROMPT_EXAMPLE,
            model_config={**options, "signature": signature},
            pip_requirements=[
                f"mlflow=={version('mlflow')}",
                f"onnxruntime-genai=={genai_version()}",
                f"numpy=={version('numpy')}",
            ],
            metadata=metadata | ({"task": "llm/v1/chat"} if signature == "chat" else {}),
        )
    return logged


def _link(source: str, target: str) -> None:
    """A hard link where it can be had: the weights are gigabytes, and MLflow follows no symbolic link out of here."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _prompt_signature(options: dict[str, Any]) -> ModelSignature:
    from mlflow.models import infer_signature
    from mlflow.types import DataType, ParamSchema, ParamSpec

    # infer_signature can't tell the type of an empty list, so the parameters are spelt out.
    types = {int: DataType.long, float: DataType.double, str: DataType.string}
    specs = [ParamSpec(name, types[type(value)], value) for name, value in options.items() if name != "stop"]
    signature = infer_signature(PROMPT_EXAMPLE, ["Run"])
    signature.params = ParamSchema([*specs, ParamSpec("stop", DataType.string, options["stop"], shape=(-1,))])
    return signature


def _chat_signature() -> ModelSignature:
    """The same columns as the Transformers wrapper's, so that one can follow the other without breaking a client."""
    from mlflow.models import ModelSignature
    from mlflow.types.llm import CHAT_MODEL_INPUT_SCHEMA, CHAT_MODEL_OUTPUT_SCHEMA

    return ModelSignature(inputs=CHAT_MODEL_INPUT_SCHEMA, outputs=CHAT_MODEL_OUTPUT_SCHEMA)
