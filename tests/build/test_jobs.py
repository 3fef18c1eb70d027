"""Builds as child processes that really run."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from phi3core.build import job_files, jobs
from phi3core.build.spec import BuildSpec
from phi3core.build.steps import STEPS
from phi3core.errors import BadInput, NotFound
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings
from tests.build.job_runs import hang_converter, wait_for_step
from tests.support.fakes import until


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a cache of its own: what these tests convert is not there yet."""
    monkeypatch.setenv("PHI3_CACHE", str(tmp_path / "cache"))
    return load_settings()


def test_a_build_runs_in_a_child_and_ends_with_a_version(settings: Settings, tiny_onnx: Path) -> None:
    run_id = jobs.start(settings, BuildSpec("onnx", str(tiny_onnx), "tiny"))

    *before, job = jobs.follow(settings, run_id)

    assert all(earlier.running for earlier in before)
    assert (job.status, job.reason, job.version, job.ref) == ("FINISHED", "", 1, "tiny/1")
    assert [step.name for step in job.steps] == list(STEPS["onnx"])
    assert {step.state for step in job.steps} == {"done"}
    assert all(step.seconds is not None for step in job.steps)
    assert job.ended is not None
    assert job.ended >= job.started
    assert job.user
    assert job.spec.source == str(tiny_onnx)
    assert reader.get_version(settings, "tiny/1").run_id == run_id
    assert list(settings.tmp.iterdir()) == []


def test_a_build_that_fails_stays_listed_with_its_reason_and_log(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    run_id = jobs.start(settings, BuildSpec("onnx", str(tmp_path / "notes"), "tiny"))

    *_, job = jobs.follow(settings, run_id)

    assert job.status == "FAILED"
    assert "is not a model" in job.reason
    assert [step.state for step in job.steps] == ["failed", "waiting", "waiting", "waiting", "waiting"]
    assert job.version is None
    assert [listed.run_id for listed in jobs.list_recent(settings)] == [run_id]
    assert "is not a model" in job_files.log_path(settings, run_id).read_text()
    assert reader.list_models(settings) == []
    assert list(settings.tmp.iterdir()) == []


def test_a_cancelled_build_leaves_no_version(
    settings: Settings, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang_converter(tmp_path / "hanging", monkeypatch)
    run_id = jobs.start(settings, BuildSpec("onnx", str(tiny), "tiny"))
    wait_for_step(settings, run_id, "convert")

    job = jobs.cancel(settings, run_id)

    assert (job.status, job.version) == ("KILLED", None)
    assert job.reason.startswith("Cancelled")
    assert [step.state for step in job.steps] == ["done", "failed", "waiting", "waiting", "waiting"]
    assert reader.list_models(settings) == []
    until(lambda: list(settings.tmp.iterdir()) == [])
    until(lambda: not _processes_that_mention(str(settings.cache)))
    assert [path for path in (settings.cache / "onnx").iterdir() if path.is_dir()] == []


def _processes_that_mention(text: str) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if text in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


def test_what_has_ended_cant_be_cancelled(settings: Settings, tmp_path: Path) -> None:
    run_id = jobs.start(settings, BuildSpec("onnx", str(tmp_path), "tiny"))
    list(jobs.follow(settings, run_id))

    with pytest.raises(BadInput, match="has ended already"):
        jobs.cancel(settings, run_id)


def test_a_specification_that_makes_no_sense_starts_nothing(settings: Settings) -> None:
    with pytest.raises(BadInput, match="is not a wrapper"):
        jobs.start(settings, BuildSpec("llama"))  # type: ignore[arg-type]

    assert jobs.list_recent(settings) == []


def test_a_build_that_is_not_there_says_so(settings: Settings) -> None:
    with pytest.raises(NotFound):
        jobs.get(settings, "0" * 32)
