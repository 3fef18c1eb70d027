"""Small real models on disk, to register: they load through MLflow, and have what the registry's pages read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi3core import hashing
from phi3core import tags as tag_names
from phi3core.settings import Settings
from tests.support import fakes

TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
_CODE = """
import mlflow

class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [f"{said} {(params or {}).get('top_k', 0)}" for said in model_input["INPUT"]]

mlflow.models.set_model(Echo())
"""


def signature(inputs: dict[str, str] | None = None, **params: Any) -> Any:
    """MLflow's signature with these inputs (name → type), text as its output, and these parameters with defaults."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    columns = [ColSpec(DataType[kind], name) for name, kind in (inputs or {"prompt": "string"}).items()]
    given = [ParamSpec(n, DataType.long if isinstance(v, int) else DataType.string, v) for n, v in params.items()]
    return ModelSignature(Schema(columns), Schema([ColSpec(DataType.string)]), ParamSchema(given) if given else None)


def save(folder: Path, needs: tuple[str, ...] = ("mlflow==3.17.2",), template: str = TEMPLATE, **params: Any) -> Path:
    """A model that echoes its prompt, saved by MLflow, with a tokenizer's chat template beside it."""
    import mlflow

    folder.parent.mkdir(parents=True, exist_ok=True)
    code = folder.parent / f"{folder.name}.py"
    code.write_text(_CODE.replace("INPUT", "prompt"))
    mlflow.pyfunc.save_model(
        folder, python_model=str(code), signature=signature(top_k=5, **params), pip_requirements=list(needs)
    )
    if template:
        (folder / "tokenizer").mkdir()
        (folder / "tokenizer" / "chat_template.jinja").write_text(template)
    return folder


def register(
    settings: Settings,
    name: str,
    folder: Path,
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
) -> str:
    """Register what was saved, with its digest and size as a build records them, and return its reference."""
    known = {
        tag_names.DIGEST: hashing.hash_folder(folder),
        tag_names.SIZE: str(hashing.folder_size(folder)),
        tag_names.WRAPPER: "onnx",
    }
    return f"{name}/{fakes.register(settings, name, folder.as_uri(), known | (tags or {}), metrics)}"
