"""Loads and runs an MLflow model of another author, so that whatever its code does ends in a sentence.

Refuses pickles that are not trusted; a model from code is Python all the same, and runs. Knows nothing of
requests.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3core.errors import BadInput, Phi3Error, ServerError, SourceError
from phi3core.garbage import import_libraries

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import PyFuncModel

PICKLED = (
    "This model is stored as a pickle, which runs whatever is in it when it is opened. If you trust it, set "
    "PHI3_TRUST_PICKLES to the name of its registered model and restart."
)
_PICKLES = {".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle"}
_END = object()


def load_model(folder: Path) -> PyFuncModel:
    """The model of a folder. Raises SourceError for one that can't be loaded, or may not be."""
    import_libraries("mlflow.pyfunc")
    import mlflow.pyfunc
    from mlflow.models import Model

    try:
        flavor = Model.load(folder).flavors.get("python_function")
    except Exception as error:  # a foreign file, read by MLflow: no common base
        raise SourceError(f"The model's MLmodel file can't be read: {error_line(error)}.") from error
    if flavor is None:
        raise SourceError(
            "This model has no python_function flavor, so MLflow does not know how to ask it. "
            "Log it with a flavor that has one, or wrap it in a PythonModel."
        )
    _refuse_pickles(folder, flavor)
    with translate_errors(folder, loading=True):
        model: PyFuncModel = mlflow.pyfunc.load_model(str(folder))
        return model


def _refuse_pickles(folder: Path, flavor: dict[str, Any]) -> None:
    """Raise SourceError for a pickle that is not trusted.

    MLflow's own flavors refuse theirs; a loader from elsewhere may open one without asking.
    """
    from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION

    if MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get():  # type: ignore[no-untyped-call]
        return
    loader = str(flavor.get("loader_module"))
    if loader.startswith("mlflow.pyfunc.") and "model_code_path" not in flavor:
        raise SourceError(PICKLED)
    if loader == "mlflow.transformers" and any(_is_pickle(path) for path in _unsafe_weights(folder)):
        raise SourceError(PICKLED)
    if not loader.startswith("mlflow.") and any(_is_pickle(path) for path in folder.rglob("*") if path.is_file()):
        raise SourceError(PICKLED)


def _unsafe_weights(folder: Path) -> Iterator[Path]:
    """What transformers reads in place of safetensors, where there are none."""
    for path in folder.rglob("*.bin"):
        if not any(path.parent.glob("*.safetensors")):
            yield path


def _is_pickle(path: Path) -> bool:
    if path.suffix in _PICKLES:
        return True
    with path.open("rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80" and head[1:] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if head == b"PK" and zipfile.is_zipfile(path):  # as torch.save writes them
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    return False


def iterate_chunks(start: Callable[[], Any], folder: Path) -> Generator[Any, None, None]:
    """Iterate over what the model streams; its errors are translated, those of the caller are not."""
    with translate_errors(folder):
        chunks = iter(start())
    try:
        while True:
            with translate_errors(folder):
                chunk = next(chunks, _END)
            if chunk is _END:
                return
            yield chunk
    finally:
        if hasattr(chunks, "close"):
            with suppress(Phi3Error), translate_errors(folder):  # its reader has gone
                chunks.close()


@contextmanager
def translate_errors(folder: Path, loading: bool = False) -> Iterator[None]:
    """Turn whatever the model's code raises, sys.exit and Ctrl-C of its own making included, into a sentence."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except Phi3Error:
        raise
    except BaseException as error:
        if "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" in error_line(error, 2000):
            raise SourceError(PICKLED) from error
        if (missing := _missing(error)) is not None:
            package = f"the Python package “{missing.name.partition('.')[0]}”" if missing.name else "a Python package"
            raise SourceError(
                f"The model needs {package}, which can't be imported here: {error_line(missing)}. "
                f"Install what it asks for with “pip install -r {folder / 'requirements.txt'}” and restart."
            ) from error
        if loading:
            raise SourceError(f"The model can't be loaded: {_named(error)}.") from error
        if isinstance(error, MlflowException) and _is_refusal(error):
            raise BadInput(f"The model does not take this request: {error_line(error)}.") from error
        raise ServerError(f"The model failed: {_named(error)}.") from error


def _missing(error: BaseException) -> ImportError | None:
    """The import that failed, also where MLflow wrapped the error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ImportError):
            return seen
        seen = seen.__cause__
    return None


def _is_refusal(error: MlflowException) -> bool:
    """Whether MLflow lays it on the request."""
    return int(error.get_http_status_code()) < 500  # type: ignore[no-untyped-call]


def _named(error: BaseException) -> str:
    """An error with its type; where MLflow wrapped the model's own, that one."""
    inner = error.__cause__ if type(error).__module__.startswith("mlflow.") and error.__cause__ else error
    return ": ".join(filter(None, (type(inner).__name__, error_line(inner))))


def error_line(error: BaseException, limit: int = 300) -> str:
    """The first line of what an error says, without its full stop; empty where it says nothing."""
    try:
        text = str(error).strip()
    except Exception:  # its class is the model's
        text = ""
    text = text.rpartition(" Error: ")[2] if text.startswith("Failed to enforce schema") else text
    return (text.splitlines() or [""])[0][:limit].rstrip(". ")
