"""Logs Transformers weights as an MLflow model: a text-generation pipeline, for chats or for prompts."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.garbage import import_libraries

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

PIPELINE_PRECISIONS = ("bfloat16", "float32", "float16")


def log_pipeline(
    folder: Path, repo: str, precision: str, task: str, model_config: dict[str, Any], metadata: dict[str, Any]
) -> ModelInfo:
    """Log the folder's model, converted to this precision, in the active run.

    Args:
        folder: of the weights and the tokenizer.
        repo: the hub repository it came from, whose licence MLflow then adds; empty when it came from elsewhere.
        precision: one of PIPELINE_PRECISIONS.
        task: ``llm/v1/chat``, or ``llm/v1/completions`` for a model without a chat template.
        model_config: the generation options by transformers' names.
        metadata: what our engine reads of the logged model.

    Raises:
        ValueError, OSError: of transformers, where the weights can't be loaded.
    """
    import_libraries("torch", "transformers.pipelines", "mlflow.transformers")
    import mlflow
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision), use_safetensors=True)
    # MLflow asks the hub about this name, six times each for a card and a licence. A name that the hub can't
    # have is refused at once, without the network; the folder's own path would show every user of the model where it
    # was on this machine.
    model.config._name_or_path = model.name_or_path = repo or "./local"
    pipe = pipeline(task="text-generation", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
    # The requirements are given because MLflow's own guess asks for torchvision and fails.
    needed = ("mlflow", "transformers", "torch", "accelerate")
    logged: ModelInfo = mlflow.transformers.log_model(
        transformers_model=pipe,
        name=tags.PIPELINE_ARTIFACT,
        task=task,
        model_config=model_config,
        pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in needed],
        metadata=metadata,
    )
    return logged
