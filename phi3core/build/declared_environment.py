"""A version's own requirements tried: a new virtual environment of nothing else, and its answer held against ours.

A version's requirements are programs. So only what our wrappers write is run: their packages at exact versions as
wheels, which run nothing when they are installed, and their code as it is in this program; both in a cell.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from phi3core import tags
from phi3core.cell import environment
from phi3core.cell.cell import FILE_SIZE, Cell, why_none
from phi3core.errors import BadInput, BuildError
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.wrappers.onnx import TEMPLATE

from . import environment_trial, measure_again
from .only_data import require_data
from .steps import Watcher, step

_ARTIFACT = "environment/trial.json"
_PACKAGES = {"mlflow", "onnxruntime-genai", "onnxruntime-genai-cuda", "numpy", "transformers", "torch", "accelerate"}
_QUESTION, _TOKENS = "Name three colours of the rainbow.", 16
_LOADERS = {"onnx": "mlflow.pyfunc.loaders.code_model", "transformers": "mlflow.transformers"}
_LOADED = {  # what MLflow's pyfunc is told of a model, by wrapper
    "onnx": {"artifacts", "cloudpickle_version", "model_code_path", "streamable"},
    "transformers": {"streamable"},
}
_GREEDY = {"onnx": 0.0, "transformers": 0.01}  # temperatures; a pipeline takes no 0, and draws by a seed of its own


@dataclass(frozen=True)
class Trial:
    """What came of it. same: it gave the answer that it gives in this program's environment. packages: its own."""

    same: bool
    answer: str
    ours: str
    python: str
    packages: dict[str, str]
    seconds: float
    when: AwareDatetime


_FORM = TypeAdapter(Trial)


def run_trial(settings: Settings, run_id: str, ref: str, watch: Watcher) -> None:
    """Make the environment, ask in it and in ours, and record both answers. run_id: the job's own run.

    Raises Phi3Error; nothing was recorded then.
    """
    started, work = time.monotonic(), settings.tmp / run_id
    work.mkdir(parents=True, exist_ok=True)
    try:
        with step("weights", watch) as report:
            report(None, "finding the version's files")
            version = measure_again.find_measurable(settings, ref)
            folder = artifacts.download(settings, version)
            require_data(folder, version.ref)
            needed = read_requirements(folder, version.ref)
            check_code(folder, version.ref)
        with step("install", watch) as report:
            report(None, f"installing {', '.join(needed)}")
            python = install(needed, work)
        with step("answer", watch) as report:
            report(None, "asking in its own environment")
            own = ask(python, folder, version, needed, work)
            report(None, "asking in this program’s")
            ours = ask(Path(sys.executable), folder, version, [], work)
        with step("record", watch):
            same = own["answer"] == ours["answer"]
            seconds, when = time.monotonic() - started, datetime.now(UTC)
            trial = Trial(same, own["answer"], ours["answer"], own["python"], own["packages"], seconds, when)
            store = mlflow_client(settings)
            with translate_errors(settings):
                store.log_text(version.run_id, _FORM.dump_json(trial, indent=1).decode(), _ARTIFACT)
                store.set_tag(run_id, tags.VERSION, str(version.version))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def read_trial(settings: Settings, version: Version) -> Trial | None:
    """The newest trial of a version; None where there was none. Raises StoreError, StoreDown."""
    import mlflow

    store = mlflow_client(settings)
    with translate_errors(settings):
        if not version.run_id or not store.list_artifacts(version.run_id, _ARTIFACT.split("/")[0]):
            return None
        root = store.get_run(version.run_id).info.artifact_uri
        try:
            return _FORM.validate_json(mlflow.artifacts.load_text(f"{root}/{_ARTIFACT}"))
        except ValidationError:  # another program's
            return None


def read_requirements(folder: Path, ref: str) -> list[str]:
    """What a logged model declares, as ``name==version`` each. Raises BadInput for what our wrappers do not write."""
    path = folder / "requirements.txt"
    lines = [line.strip() for line in path.read_text().splitlines()] if path.is_file() else []
    needed = [line for line in lines if line and not line.startswith("#")]
    odd = [one for one in needed if not (found := _EXACT.fullmatch(one)) or found.group(1) not in _PACKAGES]
    if odd or not needed:
        raise BadInput(
            f"{ref} asks for {odd[0] if odd else 'no packages'}, which is not what our wrappers write. Only what they "
            "write is installed here; try it where you trust it."
        )
    return needed


_EXACT = re.compile(r"([a-z0-9-]+)==[0-9][0-9A-Za-z.+]*")


def check_code(folder: Path, ref: str) -> None:
    """Raise BadInput where MLflow would run anything of a logged model but this program's wrapper, as it is here."""
    own = TEMPLATE.read_bytes()
    if not _is_loaded_as_logged(folder) or any(path.read_bytes() != own for path in folder.rglob("*.py")):
        raise BadInput(
            f"The code of {ref} is not the one that this program's wrapper writes, and is not run here. Build the "
            "version again, or try it where you trust it."
        )


def _is_loaded_as_logged(folder: Path) -> bool:
    """Whether the MLmodel file names what our wrappers have MLflow load, and nothing besides."""
    import yaml

    try:
        told = yaml.safe_load((folder / "MLmodel").read_text())
        wrapper, flavors = told["metadata"]["phi3"]["wrapper"], dict(told["flavors"])
        pyfunc = flavors.pop("python_function")
        named = {"loader_module", "python_version", "env", "config", "code"} | _LOADED[wrapper]
        code = Path(pyfunc.get("model_code_path", "")).name
        return (
            pyfunc["loader_module"] == _LOADERS[wrapper]
            and set(pyfunc) <= named
            and set(flavors) == ({"transformers"} if wrapper == "transformers" else set())
            and not any(one.get("code") for one in (pyfunc, *flavors.values()))
            and (wrapper != "onnx" or (code == TEMPLATE.name and (folder / code).is_file()))
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return False


def install(needed: list[str], work: Path) -> Path:
    """A virtual environment with these packages and what they need. Returns its interpreter. Raises BuildError."""
    import uv

    home, tool = work / "environment", uv.find_uv_bin()
    python = home / "bin" / "python"
    for command in (
        [tool, "venv", "--quiet", "--python", sys.executable, str(home)],
        [tool, "pip", "install", "--quiet", "--only-binary", ":all:", "--python", str(python), *needed],
    ):
        # With this user's own settings: a company's index is named there.
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            if "No space left on device" in done.stderr:
                raise OSError(28, "No space left on device")
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1].strip()
            raise BuildError(f"Its environment can't be made: uv says “{last[:300]}”. Check the network and the index.")
    return python


def ask(python: Path, folder: Path, version: Version, needed: list[str], work: Path) -> dict[str, Any]:
    """The answer of a logged model in an environment, with what that has installed. Raises BuildError."""
    options = {"max_tokens": _TOKENS, "temperature": _GREEDY[version.wrapper]}
    chat = version.tags.get(tags.SIGNATURE) == "chat"
    given: dict[str, Any] = {"messages": [{"role": "user", "content": _QUESTION}]} if chat else {"prompt": _QUESTION}
    names = [one.split("==")[0] for one in needed]
    request = {"input": given | (options if chat else {}), "params": None if chat else options, "packages": names}
    own = work / "answer"
    own.mkdir(exist_ok=True)
    shut_in = "" if why_none() else json.dumps(asdict(Cell((folder,), own, file_size=FILE_SIZE)), default=str)
    # What Python has compiled of the wrapper is looked for here, and not beside it, where it may be another's.
    start = [str(python), "-I", "-X", f"pycache_prefix={own}", str(environment_trial.__file__)]
    given = environment.allowed(str(own)) | {
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    done = subprocess.run(
        [*start, str(folder), json.dumps(request), shut_in],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, env=given, cwd=own,
    )  # fmt: skip
    if done.returncode:
        print(done.stderr, file=sys.stderr, flush=True)  # for the job's log
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        where = "its own environment" if needed else "this program's environment"
        raise BuildError(f"The version does not answer in {where}: {last[:300]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
