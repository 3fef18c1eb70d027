from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from phi3core import tags
from phi3core.build import jobs
from phi3core.build.jobs import Job
from phi3core.build.spec import BuildSpec
from phi3core.build.steps import STEPS
from phi3core.errors import BadInput, NotFound
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings, load_settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.support.fakes import until


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a cache of its own: what these tests convert is not there yet."""
    monkeypatch.setenv("PHI3_CACHE", str(tmp_path / "cache"))
    return load_settings()


def wait_for_step(settings: Settings, run_id: str, step: str) -> Job:
    """The job, once it is at that step."""

    def there() -> Job | None:
        job = jobs.get(settings, run_id)
        assert job.running, job.reason
        return job if any(s.name == step and s.state == "running" for s in job.steps) else None

    found: Job = until(there, 60)
    return found


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
    assert "is not a model" in jobs.log_path(settings, run_id).read_text()
    assert reader.list_models(settings) == []
    assert list(settings.tmp.iterdir()) == []


def test_a_cancelled_build_leaves_no_version(settings: Settings, tiny: Path) -> None:
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
    import psutil

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


# ---------------------------------------------------------------- jobs as the store has them, without a process


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


def events(settings: Settings, run_id: str, *lines: dict[str, object]) -> Path:
    path = settings.jobs / f"{run_id}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def no_process() -> dict[str, object]:
    """A job's first line, of a process that is long gone."""
    return {"pid": 2**22 + 1, "born": time.time()}


def test_a_job_whose_process_is_gone_is_closed_as_failed_at_the_next_look(settings: Settings) -> None:
    run_id = recorded(settings)
    events(settings, run_id, no_process())

    (job,) = jobs.list_recent(settings)

    assert job.status == "FAILED"
    assert "process was killed" in job.reason
    assert mlflow_client(settings).get_run(run_id).info.status == "FAILED"


def test_a_job_that_ends_while_it_is_looked_at_keeps_its_own_ending(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = recorded(settings)
    events(settings, run_id, no_process())

    def ends_now(*_: object) -> None:
        mlflow_client(settings).set_tag(run_id, tags.REASON, "Cancelled.")
        mlflow_client(settings).set_terminated(run_id, "KILLED")

    monkeypatch.setattr(jobs, "_process", ends_now)

    job = jobs.get(settings, run_id)

    assert (job.status, job.reason) == ("KILLED", "Cancelled.")
    assert mlflow_client(settings).get_run(run_id).info.status == "KILLED"


def test_a_pid_that_another_process_has_now_is_not_the_jobs(settings: Settings) -> None:
    run_id = recorded(settings)
    events(settings, run_id, {"pid": os.getppid(), "born": time.time() - 1e6})

    assert jobs.get(settings, run_id).status == "FAILED"


def test_a_job_that_died_after_registering_has_finished(settings: Settings) -> None:
    run_id = recorded(settings)
    events(settings, run_id, no_process())
    mlflow_client(settings).create_registered_model("tiny")
    mlflow_client(settings).create_model_version("tiny", "s3://nowhere/model", run_id)

    job = jobs.get(settings, run_id)

    assert (job.status, job.version, job.reason) == ("FINISHED", 1, "")
    assert {step.state for step in job.steps} == {"done"}


def test_a_job_on_another_machine_is_left_alone(settings: Settings) -> None:
    run_id = recorded(settings, host="elsewhere", step="measure")

    job = jobs.get(settings, run_id)

    assert job.running
    assert [step.state for step in job.steps] == ["done", "done", "running", "waiting", "waiting"]
    with pytest.raises(NotFound, match="another machine: cancel it there"):
        jobs.cancel(settings, run_id)


def test_a_half_written_line_of_progress_is_read_later(settings: Settings) -> None:
    run_id = recorded(settings)
    weights = {"step": "weights", "text": "reading", "fraction": 0.5, "seconds": None}
    path = events(settings, run_id, {"pid": os.getpid(), "born": _born()}, weights)
    with path.open("a") as file:
        file.write('{"step": "weights", "text": "do')

    job = jobs.get(settings, run_id)

    assert job.running
    assert (job.steps[0].state, job.steps[0].text, job.steps[0].fraction) == ("running", "reading", 0.5)


def _born() -> float:
    import psutil

    return psutil.Process().create_time()


def test_the_latest_builds_come_first_and_no_more_than_asked_for(settings: Settings) -> None:
    run_ids = []
    for _ in range(3):
        run_ids.append(recorded(settings, host="elsewhere"))
        time.sleep(0.002)  # the store orders by milliseconds

    assert [job.run_id for job in jobs.list_recent(settings, limit=2)] == run_ids[:0:-1]


def test_a_run_that_somebody_else_put_among_the_builds_breaks_no_list(settings: Settings) -> None:
    mlflow_client(settings).create_run(experiment_id(settings, tags.BUILDS))
    ours = recorded(settings, host="elsewhere")

    assert ours in [job.run_id for job in jobs.list_recent(settings)]


def test_a_cancelled_job_that_had_registered_has_finished(settings: Settings) -> None:
    run_id = recorded(settings)
    events(settings, run_id, no_process(), {"cancelled": True})
    mlflow_client(settings).create_registered_model("tiny")
    mlflow_client(settings).create_model_version("tiny", "s3://nowhere/model", run_id)

    job = jobs.get(settings, run_id)

    assert (job.status, job.version, job.reason) == ("FINISHED", 1, "")
    assert mlflow_client(settings).get_run(run_id).info.status == "FINISHED"
    assert reader.get_version(settings, "tiny/1").run_id == run_id


def test_a_cancelled_job_that_had_registered_nothing_is_cancelled(settings: Settings) -> None:
    run_id = recorded(settings)
    events(settings, run_id, no_process(), {"cancelled": True})

    job = jobs.get(settings, run_id)

    assert (job.status, job.version, job.reason) == ("KILLED", None, "Cancelled.")


class Undisturbed:
    """What main() asks of jobs._Cancel, without its signal handler and its eye on standard input."""

    why, over = "", False

    def check(self) -> None:
        pass


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("the progress can't be told")],
    ids=["a full disk", "anything else"],
)
def test_a_build_that_fails_right_after_registering_has_finished(
    settings: Settings, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    run_id = recorded(settings, spec=BuildSpec("onnx", str(tiny_onnx), "tiny"))
    append = jobs._append

    def fails_at_the_end(config: Settings, run: str, event: dict[str, Any]) -> None:
        if event.get("step") == "register" and event.get("seconds") is not None:
            raise failure
        append(config, run, event)

    monkeypatch.setattr(jobs, "_append", fails_at_the_end)
    monkeypatch.setattr(jobs, "_Cancel", Undisturbed)
    monkeypatch.setenv("TMPDIR", str(settings.tmp))  # put back afterwards: main() changes it

    spec = BuildSpec("onnx", str(tiny_onnx), "tiny").validated()
    jobs.main(run_id, json.dumps(asdict(spec)))

    job = jobs.get(settings, run_id)
    assert (job.status, job.version, job.reason) == ("FINISHED", 1, "")
    version = reader.get_version(settings, "tiny/1")
    assert version.run_id == run_id
    assert artifacts.local_folder(settings, version), "its files are there"


# ---------------------------------------------------------------- two homes, one store


def test_a_build_of_another_home_in_the_same_store_is_left_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    run_id = recorded(settings)
    events(settings, run_id, {"pid": os.getpid(), "born": _born()})
    monkeypatch.setenv("PHI3_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    other = load_settings()
    assert (other.home, other.tracking_uri) == (tmp_path / "other", settings.tracking_uri)

    (seen,) = jobs.list_recent(other)

    assert seen.running
    with pytest.raises(NotFound, match="cancel it there"):
        jobs.cancel(other, run_id)
    assert mlflow_client(settings).get_run(run_id).info.status == "RUNNING"
    assert jobs.get(settings, run_id).running


# ---------------------------------------------------------------- what a killed job leaves


@pytest.fixture
def session() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that leads a session of its own, as a job does, and the pid of a child that outlives it."""
    leader = subprocess.Popen(
        ["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout
    yield leader, int(leader.stdout.readline())
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()


def lives(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("reaped", [True, False], ids=["and its parent has noticed", "and its parent has not noticed"])
def test_after_a_job_was_killed_the_next_look_ends_what_it_started_and_removes_its_folder(
    settings: Settings, session: tuple[subprocess.Popen[str], int], reaped: bool
) -> None:
    leader, orphan = session
    run_id, another = recorded(settings), recorded(settings, host="elsewhere")
    events(settings, run_id, {"pid": leader.pid, "born": psutil.Process(leader.pid).create_time()})
    for name in (run_id, another):
        (settings.tmp / name).mkdir()
        (settings.tmp / name / "weights.bin").write_bytes(b"half")
    assert jobs.get(settings, run_id).running
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        os.kill(leader.pid, signal.SIGKILL)
        if reaped:
            leader.wait()
        until(lambda: not lives(leader.pid))
        assert lives(orphan)

        job = jobs.get(settings, run_id)

        assert job.status == "FAILED"
        assert "process was killed" in job.reason
        until(lambda: not lives(orphan), 5)
        assert [path.name for path in settings.tmp.iterdir()] == [another]
        assert lives(bystander.pid)
    finally:
        bystander.kill()
        bystander.wait()
