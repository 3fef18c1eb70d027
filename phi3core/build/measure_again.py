"""Measuring a registered version anew, on this machine, when that is idle.

What comes out is the next step of the metrics of the version's source run. Knows nothing of processes (see jobs.py).
"""

from __future__ import annotations

import shutil

import psutil
from filelock import FileLock

from phi3core import tags
from phi3core.build.sources.source import Report
from phi3core.clock import SYSTEM, Clock
from phi3core.errors import BadInput
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.timestamps import to_ms

from .measure import Measurement, measure_model
from .steps import Progress, Watcher, step

IDLE_LOAD, IDLE_SECONDS = 0.15, 5
"""A machine is idle once less than this share of its cores was busy in each of so many seconds."""


def why_not(version: Version) -> str:
    """Why a version's speed can't be measured here, as a sentence; empty where it can."""
    if not version.wrapper:
        return (
            f"{version.ref} can't be measured: neither of our wrappers made it, and the tokens of others are not "
            "counted."
        )
    if not version.run_id:
        return f"{version.ref} can't be measured: it was registered without a run that would hold its metrics."
    return ""


def find_measurable(settings: Settings, ref: str) -> Version:
    """The version that a reference names now. Raises NotFound, or BadInput where it can't be measured here."""
    if ref.startswith("endpoint:"):
        raise BadInput(
            f"{ref} can't be measured: it runs on another machine. Chat with it, and each answer tells its speed."
        )
    version = reader.get_version(settings, ref)
    if reason := why_not(version):
        raise BadInput(reason)
    return version


def run_measurement(settings: Settings, run_id: str, ref: str, watch: Watcher, clock: Clock = SYSTEM) -> None:
    """Measure a version and record it. run_id: the job's own run.

    Raises Phi3Error; nothing was recorded then.
    """
    store = mlflow_client(settings)
    try:
        with step("weights", watch) as report:
            report(None, "finding the version's files")
            version = find_measurable(settings, ref)
            folder = artifacts.download(settings, version)
        watch(Progress("idle", "another measurement is under way"))
        with FileLock(settings.locks / "measure.lock"):
            with step("idle", watch) as report:
                wait_until_idle(report, clock)
            with step("measure", watch) as report:
                report(None, "loading the model and letting it answer")
                measured = measure_model(folder, "logged")
            with step("record", watch), translate_errors(settings):
                _record(settings, version, measured)
                store.set_tag(run_id, tags.VERSION, str(version.version))
    finally:
        shutil.rmtree(settings.tmp / run_id, ignore_errors=True)


def wait_until_idle(report: Report, clock: Clock = SYSTEM) -> None:
    """Return once the machine has been idle for a while; tell meanwhile how busy it is."""
    psutil.cpu_percent()  # the first reading is of no time at all
    quiet, told = 0, ""
    while quiet < IDLE_SECONDS:
        clock.sleep(1.0)
        load = psutil.cpu_percent() / 100
        quiet = quiet + 1 if load < IDLE_LOAD else 0
        wanted = f"under {IDLE_LOAD * 100:.0f} % for {IDLE_SECONDS} s"
        text = f"about {round(load, 1) * 100:.0f} % busy; it has to be {wanted}" if not quiet else "idle, so far"
        if text != told:
            report(None, told := text)


def _record(settings: Settings, version: Version, measured: Measurement) -> None:
    """One call, so that a step has all of it or nothing."""
    from mlflow.entities import Metric, RunTag

    store = mlflow_client(settings)
    history = store.get_metric_history(version.run_id, tags.TOKENS_PER_SECOND)
    number = max((point.step for point in history), default=-1) + 1
    when = to_ms(measured.conditions.when)
    store.log_batch(
        version.run_id,
        metrics=[Metric(name, value, when, number) for name, value in measured.metrics.items()],
        tags=[RunTag(name, value) for name, value in measured.conditions.as_tag(number).items()],
    )
