"""A job as its run and its events tell it, without a process of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.build import jobs, process_tree
from phi3core.errors import NotFound
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.build.job_runs import no_process, recorded, start_of_this_process, write_events


def test_a_job_whose_process_is_gone_is_closed_as_failed_at_the_next_look(settings: Settings) -> None:
    run_id = recorded(settings)
    write_events(settings, run_id, no_process())

    (job,) = jobs.list_recent(settings)

    assert job.status == "FAILED"
    assert "process was killed" in job.reason
    assert mlflow_client(settings).get_run(run_id).info.status == "FAILED"


def test_a_job_that_ends_while_it_is_looked_at_keeps_its_own_ending(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = recorded(settings)
    write_events(settings, run_id, no_process())

    def ends_now(*_: object) -> None:
        mlflow_client(settings).set_tag(run_id, tags.REASON, "Cancelled.")
        mlflow_client(settings).set_terminated(run_id, "KILLED")

    monkeypatch.setattr(process_tree, "living_process", ends_now)

    job = jobs.get(settings, run_id)

    assert (job.status, job.reason) == ("KILLED", "Cancelled.")
    assert mlflow_client(settings).get_run(run_id).info.status == "KILLED"


def test_a_pid_that_another_process_has_now_is_not_the_jobs(settings: Settings) -> None:
    run_id = recorded(settings)
    write_events(settings, run_id, {"pid": os.getppid(), "born": time.time() - 1e6})

    assert jobs.get(settings, run_id).status == "FAILED"


def test_a_job_that_died_after_registering_has_finished(settings: Settings) -> None:
    run_id = recorded(settings)
    write_events(settings, run_id, no_process())
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
    path = write_events(settings, run_id, {"pid": os.getpid(), "born": start_of_this_process()}, weights)
    with path.open("a") as file:
        file.write('{"step": "weights", "text": "do')

    job = jobs.get(settings, run_id)

    assert job.running
    assert (job.steps[0].state, job.steps[0].text, job.steps[0].fraction) == ("running", "reading", 0.5)


def test_the_latest_builds_come_first_and_no_more_than_asked_for(settings: Settings) -> None:
    run_ids = []
    for _ in range(3):
        run_ids.append(recorded(settings, host="elsewhere"))
        time.sleep(0.002)  # the store orders by milliseconds

    assert [job.run_id for job in jobs.list_recent(settings, limit=2)] == run_ids[:0:-1]


def test_a_run_that_another_program_put_among_the_builds_breaks_no_list(settings: Settings) -> None:
    mlflow_client(settings).create_run(experiment_id(settings, tags.BUILDS))
    ours = recorded(settings, host="elsewhere")

    assert ours in [job.run_id for job in jobs.list_recent(settings)]


def test_a_cancelled_job_that_had_registered_has_finished(settings: Settings) -> None:
    run_id = recorded(settings)
    write_events(settings, run_id, no_process(), {"cancelled": True})
    mlflow_client(settings).create_registered_model("tiny")
    mlflow_client(settings).create_model_version("tiny", "s3://nowhere/model", run_id)

    job = jobs.get(settings, run_id)

    assert (job.status, job.version, job.reason) == ("FINISHED", 1, "")
    assert mlflow_client(settings).get_run(run_id).info.status == "FINISHED"
    assert reader.get_version(settings, "tiny/1").run_id == run_id


def test_a_cancelled_job_that_had_registered_nothing_is_cancelled(settings: Settings) -> None:
    run_id = recorded(settings)
    write_events(settings, run_id, no_process(), {"cancelled": True})

    job = jobs.get(settings, run_id)

    assert (job.status, job.version, job.reason) == ("KILLED", None, "Cancelled.")


def test_a_build_of_another_home_in_the_same_store_is_left_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    run_id = recorded(settings)
    write_events(settings, run_id, {"pid": os.getpid(), "born": start_of_this_process()})
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
