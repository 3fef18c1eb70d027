"""Measuring a registered version anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from phi3core import tags
from phi3core.build import jobs, measure_again
from phi3core.build.measure import Measurement
from phi3core.build.steps import STEPS, Progress
from phi3core.errors import BadInput, BuildError
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.build.job_runs import wait_for_step
from tests.support import fakes
from tests.support.clock import ManualClock
from tests.support.conditions import BUSY, QUIET

Measure = Callable[[], list[Progress]]


class LeapingClock(ManualClock):
    """A clock whose sleeps are over at once."""

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)


@pytest.fixture
def version(settings: Settings, tmp_path: Path) -> str:
    """A version whose files are there, as far as it takes to find them, with its build's speed."""
    folder = tmp_path / "logged"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    wrapper = {tags.WRAPPER: "onnx", tags.SOURCE: "embedded"}
    number = fakes.register(settings, "phi3", folder.as_uri(), wrapper, {tags.TOKENS_PER_SECOND: 100.0})
    return f"phi3/{number}"


@pytest.fixture
def measure(settings: Settings, version: str, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measures the version on a quiet machine."""
    monkeypatch.setattr(psutil, "cpu_percent", lambda: 3.0)
    run_id = str(mlflow_client(settings).create_run(experiment_id(settings, tags.BUILDS)).info.run_id)

    def measure_() -> list[Progress]:
        told: list[Progress] = []
        measure_again.run_measurement(settings, run_id, version, told.append, LeapingClock())
        return told

    return measure_


def answers(monkeypatch: pytest.MonkeyPatch, *found: Measurement) -> None:
    """What the next measurements give, instead of measuring."""
    left = list(found)
    monkeypatch.setattr(measure_again, "measure_model", lambda *_: left.pop(0))


def test_each_measurement_is_the_next_step_of_the_versions_metrics(
    settings: Settings, version: str, measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, Measurement(90.0, 50.0, 2e9, "", BUSY), Measurement(120.0, 40.0, 1e9, "", QUIET))

    told = measure() + measure()

    done = [progress.step for progress in told if progress.seconds is not None]
    assert done == [*STEPS["measure"], *STEPS["measure"]]
    found = reader.get_version(settings, version)
    speeds = reader.list_measurements(settings, found.run_id, tags.TOKENS_PER_SECOND)
    assert speeds == [(0, 100.0, None), (1, 90.0, BUSY), (2, 120.0, QUIET)]
    assert [value for _, value, _ in reader.list_measurements(settings, found.run_id, tags.LOAD)] == [45.0, 3.0]
    assert found.metrics[tags.TOKENS_PER_SECOND] == 120.0
    assert found.metrics[tags.PEAK_MEMORY] == 1e9
    assert found.measured == QUIET


def test_a_version_that_does_not_answer_keeps_its_figures(
    settings: Settings, version: str, measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = reader.get_version(settings, version)

    def fail(*_: object) -> Measurement:
        raise BuildError("The model could not answer when it was tried.")

    monkeypatch.setattr(measure_again, "measure_model", fail)

    with pytest.raises(BuildError, match="could not answer"):
        measure()

    assert reader.get_version(settings, version) == before


def test_it_begins_when_the_machine_was_idle_for_five_seconds_without_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [0.0, 60, 61, 4, 5, 3, 2, 70, 1, 1, 1, 1, 1, 99]
    monkeypatch.setattr(psutil, "cpu_percent", lambda: readings.pop(0))
    told, clock = [], LeapingClock(0.0)

    measure_again.wait_until_idle(lambda fraction, text: told.append(text), clock)

    assert clock.now() == 12
    assert readings == [99]
    busy = "busy; it has to be under 15 % for 5 s"
    assert told == [f"about 60 % {busy}", "idle, so far", f"about 70 % {busy}", "idle, so far"]


def test_what_cant_be_measured_is_refused_with_a_sentence_and_starts_nothing(settings: Settings, version: str) -> None:
    fakes.register(settings, "theirs", metrics={"loss": 1.0})
    fakes.register(settings, "bare", tags={tags.WRAPPER: "onnx"})
    for ref, words in (
        ("endpoint:azure", "it runs on another machine"),
        ("theirs/1", "neither of our wrappers made it"),
        ("bare/1", "registered without a run"),
    ):
        with pytest.raises(BadInput, match=f"{ref} can't be measured: .*{words}"):
            jobs.start_measuring(settings, ref)

    assert jobs.list_recent(settings) == []


def test_one_that_waits_for_a_busy_machine_is_a_job_and_can_be_cancelled(settings: Settings, version: str) -> None:
    before = reader.get_version(settings, version)
    run_id = jobs.start_measuring(settings, version)
    waiting = wait_for_step(settings, run_id, "idle")
    assert (waiting.about, waiting.spec.name, waiting.spec.source) == (version, "phi3", "embedded")
    assert [step.name for step in waiting.steps] == list(STEPS["measure"])

    job = jobs.cancel(settings, run_id)

    assert (job.status, job.version) == ("KILLED", None)
    assert [step.state for step in job.steps] == ["done", "failed", "waiting", "waiting"]
    assert [listed.run_id for listed in jobs.list_recent(settings)] == [run_id]
    assert mlflow_client(settings).get_run(run_id).data.tags["mlflow.parentRunId"] == before.run_id
    assert reader.get_version(settings, version) == before
    fakes.until(lambda: list(settings.tmp.iterdir()) == [])
