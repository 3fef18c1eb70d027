"""What the child does when a build fails at the very end."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from phi3core.build import job_main, jobs
from phi3core.build.spec import BuildSpec
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings
from tests.build.job_runs import no_process, recorded, start_of_this_process, write_events
from tests.support.clock import ManualClock


class Undisturbed:
    """What main() asks of Cancellation, without its signal handler and its eye on standard input."""

    reason, over = "", False

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
    append = job_main.append_event

    def fails_at_the_end(config: Settings, run: str, event: dict[str, Any]) -> None:
        if event.get("step") == "register" and event.get("seconds") is not None:
            raise failure
        append(config, run, event)

    monkeypatch.setattr(job_main, "append_event", fails_at_the_end)
    monkeypatch.setattr(job_main, "Cancellation", Undisturbed)
    monkeypatch.setenv("TMPDIR", str(settings.tmp))  # put back afterwards: main() changes it

    spec = BuildSpec("onnx", str(tiny_onnx), "tiny").validated()
    job_main.main(run_id, json.dumps(asdict(spec)))

    job = jobs.get(settings, run_id)
    assert (job.status, job.version, job.reason) == ("FINISHED", 1, "")
    version = reader.get_version(settings, "tiny/1")
    assert version.run_id == run_id
    assert artifacts.local_folder(settings, version), "its files are there"


def test_a_job_lets_the_one_that_was_asked_for_before_it_end_first_and_says_so_once(settings: Settings) -> None:
    before, told = recorded(settings), list[str]()
    write_events(settings, before, {"pid": os.getpid(), "born": start_of_this_process()})

    class Clock(ManualClock):
        sleeps = 0

        def sleep(self, seconds: float) -> None:
            self.sleeps += 1
            if self.sleeps == 3:
                write_events(settings, before, no_process())  # it ends

    clock = Clock(0.0)
    job_main.wait_for_job(settings, before, lambda progress: told.append(progress.text), clock)

    assert clock.sleeps == 3
    assert told == ["waiting for the job that was asked for before it"]


def test_a_job_that_is_the_first_or_whose_forerunner_has_ended_does_not_wait(settings: Settings) -> None:
    ended = recorded(settings)
    write_events(settings, ended, no_process())

    for run_id in ("", ended, "unknown"):
        job_main.wait_for_job(settings, run_id, lambda _: pytest.fail("it waits"))
