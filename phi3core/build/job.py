"""A job as plain data, made of its MLflow run and its events. Asks no store and no process."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.timestamps import from_ms

from .spec import KIND, MEASURES, BuildSpec, spec_from_params
from .steps import STEPS

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class Step:
    """state: ``waiting``, ``running``, ``done`` or ``failed``."""

    name: str
    state: str = "waiting"
    text: str = ""
    fraction: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Job:
    """A job as it stands. status is the run's: RUNNING, FINISHED, FAILED or KILLED.

    kind: ``build``, or what is done with a version that there is: ``measure``, ``parity`` or ``environment``. about:
    that version's reference; empty for a build. spec: what it builds, or what the version was built as. version: the
    one that it was about, once that is done.
    """

    run_id: str
    experiment_id: str
    spec: BuildSpec
    status: str
    started: datetime
    ended: datetime | None
    user: str
    reason: str = ""
    version: int | None = None
    steps: tuple[Step, ...] = field(default=())
    kind: str = "build"
    about: str = ""

    @property
    def running(self) -> bool:
        return self.status == "RUNNING"

    @property
    def ref(self) -> str:
        return f"{self.spec.name}/{self.version}" if self.version else ""


def job_from_run(run: Run, events: list[dict[str, Any]], alive: bool) -> Job:
    """The job of a run. alive: its process lives on this machine."""
    tag_values = run.data.tags
    version, status = tag_values.get(tags.VERSION, ""), run.info.status
    about = run.data.params.get(MEASURES, "")
    kind = run.data.params.get(KIND, "measure") if about else "build"
    steps = tag_values.get(tags.WRAPPER, "") if kind == "build" else kind
    if status in ("FAILED", "KILLED") and alive:
        status = "RUNNING"  # MLflow has closed the run, and the process is about to say why
    return Job(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        spec=spec_from_params(run.data.params),
        status=status,
        started=from_ms(run.info.start_time),
        ended=from_ms(run.info.end_time) if run.info.end_time else None,
        user=tag_values.get(tags.USER, ""),
        reason=tag_values.get(tags.REASON, ""),
        version=int(version) if version.isdigit() else None,
        steps=_steps(steps, tag_values.get(tags.STEP, ""), status, events),
        kind=kind,
        about=about,
    )


def is_unclosed(run: Run) -> bool:
    """Running, or closed by MLflow before the job could say how it ended."""
    explained = tags.REASON in run.data.tags or tags.VERSION in run.data.tags
    return run.info.status == "RUNNING" or (run.info.status in ("FAILED", "KILLED") and not explained)


def _steps(kind: str, at: str, status: str, events: list[dict[str, Any]]) -> tuple[Step, ...]:
    """From the events where this machine has them, else from the run's tag that names the step it is at."""
    steps = {name: Step(name) for name in STEPS.get(kind, ())}
    if not events and at in steps:
        order = list(steps)
        steps |= {name: Step(name, "done") for name in order[: order.index(at)]}
        steps[at] = Step(at, "running")
    for event in events:
        if (name := event.get("step")) in steps:
            state = "running" if event.get("seconds") is None else "done"
            steps[name] = Step(name, state, event["text"], event["fraction"], event["seconds"])
    if status == "FINISHED":
        return tuple(Step(s.name, "done", s.text, 1.0, s.seconds) for s in steps.values())
    if status != "RUNNING":
        return tuple(Step(s.name, "failed", s.text, s.fraction) if s.state == "running" else s for s in steps.values())
    return tuple(steps.values())
