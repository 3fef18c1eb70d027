"""A build whose process is killed as each of its steps begins: nothing is half-registered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from phi3core.build import jobs, measure, steps
from phi3core.build.spec import BuildSpec
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.build.conftest import Bench
from tests.build.job_runs import no_process, recorded, write_events
from tests.support.conditions import QUIET

_DYING = """
import json, os, signal, sys
from phi3core.build import measure, steps
from phi3core.build.spec import BuildSpec
from phi3core.settings import load_settings
from tests.support.conditions import QUIET
import mlflow.pyfunc

settings, spec = load_settings(), BuildSpec("onnx", sys.argv[1], "tiny").validated()
measure.measure_model = lambda *_: measure.Measurement(1.0, 1.0, 1.0, "text", QUIET)

def die(step, done):
    def watch(progress):
        if progress.step == step and (progress.seconds is not None) == done:
            os.kill(os.getpid(), signal.SIGKILL)
    return watch

for run_id, step, done in json.loads(sys.argv[2]):  # a fork each: what they import is imported once
    child = os.fork()
    if not child:
        steps.run_build(settings, run_id, spec, die(step, done))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, (step, status)
"""


@pytest.fixture
def killed(settings: Settings, tiny_onnx: Path) -> dict[str, str]:
    """The run of a build that was killed as each step began, by the step; `done` is one that was through with all."""
    spec = BuildSpec("onnx", str(tiny_onnx), "tiny")
    runs = {step: recorded(settings, spec=spec) for step in (*steps.STEPS["onnx"], "done")}
    asked = [(run_id, "register" if step == "done" else step, step == "done") for step, run_id in runs.items()]
    program = [sys.executable, "-c", _DYING, str(tiny_onnx), json.dumps(asked)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for run_id in runs.values():
        write_events(settings, run_id, no_process())
    return runs


def test_a_build_that_is_killed_as_a_step_begins_leaves_nothing_and_the_next_one_is_whole(
    settings: Settings, killed: dict[str, str], tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "measure_model", lambda *_: measure.Measurement(1.0, 1.0, 1.0, "text", QUIET))
    through = killed.pop("done")
    assert (jobs.get(settings, through).status, jobs.get(settings, through).ref) == ("FINISHED", "tiny/1")

    for step, run_id in killed.items():
        job = jobs.get(settings, run_id)
        assert (job.status, job.version) == ("FAILED", None), step
        assert "process was killed" in job.reason

    (version,) = reader.list_versions(settings, "tiny")
    assert version.run_id == through
    bench = Bench(settings)
    assert len([found for found in bench.left_behind() if found.endswith("MLmodel")]) == 1, "the registered one's"
    assert list(settings.tmp.iterdir()) == []
    assert bench.run(BuildSpec("onnx", str(tiny_onnx), "tiny")) == 2
