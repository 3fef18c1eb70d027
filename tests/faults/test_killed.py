"""Processes that are killed at the worst moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from phi3core.build import jobs, process_tree
from phi3core.build.job import Job
from phi3core.build.spec import BuildSpec
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings
from tests.build.job_runs import hang_converter, wait_for_step
from tests.support.fakes import until


def _ended(settings: Settings, run_id: str) -> Job | None:
    job = jobs.get(settings, run_id)
    return None if job.running else job


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a cache of its own: nothing is converted yet."""
    monkeypatch.setenv("PHI3_CACHE", str(tmp_path / "cache"))
    return load_settings()


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hang_converter(tmp_path / "hanging", monkeypatch)


@pytest.mark.usefixtures("hanging")
@pytest.mark.parametrize("ours", [True, False], ids=["by who started it", "by another process"])
def test_a_killed_build_is_listed_as_failed_at_the_next_look(
    settings: Settings, tiny: Path, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    run_id = jobs.start(settings, BuildSpec("onnx", str(tiny), "tiny"))
    wait_for_step(settings, run_id, "convert")
    child = process_tree._children[run_id]
    os.killpg(child.pid, signal.SIGKILL)
    if not ours:
        child.wait()
        monkeypatch.setattr(process_tree, "_children", {})

    job = until(lambda: _ended(settings, run_id))

    assert job.status == "FAILED"
    assert "process was killed" in job.reason
    assert [step.state for step in job.steps][:2] == ["done", "failed"]
    assert [listed.status for listed in jobs.list_recent(settings)] == ["FAILED"]
    assert reader.list_models(settings) == []


@pytest.mark.usefixtures("hanging")
def test_what_a_killed_build_left_half_made_is_made_again_by_the_next(
    settings: Settings, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = BuildSpec("onnx", str(tiny), "tiny")
    run_id = jobs.start(settings, spec)
    wait_for_step(settings, run_id, "convert")
    until(lambda: list((settings.cache / "onnx").glob("*.part-*/model.onnx.data")))
    os.killpg(process_tree._children[run_id].pid, signal.SIGKILL)
    monkeypatch.delenv("PYTHONPATH")

    *_, job = jobs.follow(settings, jobs.start(settings, spec))

    assert (job.status, job.ref) == ("FINISHED", "tiny/1"), job.reason
    assert not list((settings.cache / "onnx").glob("*.part-*"))


PARENT = """
import sys
from phi3core.build import jobs
from phi3core.build.spec import BuildSpec
from phi3core.settings import load_settings
print(jobs.start(load_settings(), BuildSpec("onnx", sys.argv[1], "tiny")), flush=True)
sys.stdin.read()
"""


@pytest.mark.usefixtures("hanging")
def test_a_build_ends_with_the_program_that_started_it(settings: Settings, tiny: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tiny)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    run_id = parent.stdout.readline().strip()
    wait_for_step(settings, run_id, "convert")
    (child,) = (process for process in psutil.Process(parent.pid).children() if process.is_running())

    parent.kill()
    parent.communicate()

    job = until(lambda: _ended(settings, run_id))
    assert job.status == "KILLED", job.reason
    assert "the program that started it has ended" in job.reason
    assert reader.list_models(settings) == []
    child.wait(20)
    assert list(settings.tmp.iterdir()) == []
