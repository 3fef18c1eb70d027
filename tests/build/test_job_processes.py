"""What a killed job leaves running, and a job that does not stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from phi3core.build import jobs
from phi3core.settings import Settings
from tests.build.job_runs import lives, recorded, write_events
from tests.support.clock import ManualClock
from tests.support.fakes import until


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


@pytest.mark.parametrize("reaped", [True, False], ids=["and its parent has noticed", "and its parent has not noticed"])
def test_after_a_job_was_killed_the_next_look_ends_what_it_started_and_removes_its_folder(
    settings: Settings, session: tuple[subprocess.Popen[str], int], reaped: bool
) -> None:
    leader, orphan = session
    run_id, another = recorded(settings), recorded(settings, host="elsewhere")
    write_events(settings, run_id, {"pid": leader.pid, "born": psutil.Process(leader.pid).create_time()})
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


class LeapingClock(ManualClock):
    """A clock whose sleeps are over at once."""

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)


def test_a_job_that_does_not_stop_by_itself_is_killed_after_ten_seconds(settings: Settings) -> None:
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert stubborn.stdout
    assert stubborn.stdout.readline() == "ready\n"
    run_id, clock = recorded(settings), LeapingClock(0.0)
    write_events(settings, run_id, {"pid": stubborn.pid, "born": psutil.Process(stubborn.pid).create_time()})
    try:
        job = jobs.cancel(settings, run_id, clock=clock)

        assert stubborn.wait(10) == -signal.SIGKILL
        assert clock.now() == pytest.approx(10)
        assert (job.status, job.version) == ("KILLED", None)
        assert job.reason == "Cancelled; it did not stop by itself within 10 s and was killed."
    finally:
        stubborn.kill()
        stubborn.wait()
