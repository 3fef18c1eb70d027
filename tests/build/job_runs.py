"""Jobs for tests: one that has come to a step, and runs and events as another process would have left them."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from phi3core import tags
from phi3core.build import jobs
from phi3core.build.job import Job
from phi3core.build.spec import BuildSpec
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.support.fakes import until

_BUILDER = """
import pathlib, sys, time
(pathlib.Path(sys.argv[sys.argv.index("-o") + 1]) / "model.onnx.data").write_bytes(b"half of it")
time.sleep(600)
"""


def hang_converter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """From now on the converter hangs with half a file written, so that a build can't be through before it is met."""
    models = folder / "onnxruntime_genai" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    (models / "__init__.py").touch()
    (models / "builder.py").write_text(_BUILDER)
    patch.setenv("PYTHONPATH", str(folder))
    patch.setenv("PHI3_CELL", "off")  # in which it could not be read


def wait_for_step(settings: Settings, run_id: str, step: str) -> Job:
    """The job, once it is at that step."""

    def there() -> Job | None:
        job = jobs.get(settings, run_id)
        assert job.running, job.reason
        return job if any(s.name == step and s.state == "running" for s in job.steps) else None

    found: Job = until(there, 60)
    return found


def recorded(settings: Settings, host: str = "", spec: BuildSpec | None = None, step: str = "") -> str:
    """A run that says it is a running build, as another process would have left it."""
    store = mlflow_client(settings)
    checked = (spec or BuildSpec("onnx", name="tiny")).validated()
    tag_values = {tags.HOST: host or socket.gethostname(), tags.WRAPPER: checked.wrapper, tags.USER: "ada"}
    if step:
        tag_values[tags.STEP] = step
    run_id = str(store.create_run(experiment_id(settings, tags.BUILDS), tags=tag_values).info.run_id)
    for name, value in asdict(checked).items():
        store.log_param(run_id, f"build.{name}", str(value))
    return run_id


def write_events(settings: Settings, run_id: str, *lines: dict[str, object]) -> Path:
    path = settings.jobs / f"{run_id}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def no_process() -> dict[str, object]:
    """A job's first line, of a process that is long gone."""
    return {"pid": 2**22 + 1, "born": time.time()}


def start_of_this_process() -> float:
    return psutil.Process().create_time()


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
