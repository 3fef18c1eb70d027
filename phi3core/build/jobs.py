"""Builds as child processes: started, watched, cancelled, listed.

A job is an MLflow run in the experiment of builds; its phases are tags of the run. Its progress is no
lasting thing: a line of JSON per event in ``$PHI3_HOME/jobs/<run id>.jsonl``. A job goes on when the page
that started it closes, and ends when the program that started it does: its standard input is a pipe that
closes then. ``python -m phi3core.build.jobs`` is the child's side.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Cancelled, NotFound, Phi3Error
from phi3core.parent_process import on_parent_exit
from phi3core.settings import Settings, load_settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors
from phi3core.timestamps import from_ms

from . import steps
from .spec import BuildSpec, is_build_run, spec_from_params
from .steps import STEPS, Progress

if TYPE_CHECKING:
    from mlflow.entities import Run

_children: dict[str, subprocess.Popen[bytes]] = {}


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
    """A build as it stands. status is the run's: RUNNING, FINISHED, FAILED or KILLED."""

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

    @property
    def running(self) -> bool:
        return self.status == "RUNNING"

    @property
    def ref(self) -> str:
        return f"{self.spec.name}/{self.version}" if self.version else ""


def start(config: Settings, spec: BuildSpec, person: Person | None = None) -> str:
    """Start a build in a child process and return its run id.

    Raises Forbidden unless the person is a releaser, BadInput or StoreDown, before anything starts.
    """
    person = person or roles.local_person(config)
    roles.require(person, "releaser", "building a version")
    spec = spec.validated()
    store, home = mlflow_client(config), experiment_id(config, tags.BUILDS)
    tag_values = {tags.MODEL_NAME: spec.name, tags.WRAPPER: spec.wrapper, tags.HOST: socket.gethostname()}
    tag_values[tags.USER] = person.name
    if parent := os.environ.get("MLFLOW_RUN_ID"):
        tag_values["mlflow.parentRunId"] = parent  # started by “mlflow run”
    with translate_errors(config):
        from mlflow.entities import Param

        run = store.create_run(home, tags=tag_values, run_name=f"{spec.name} {spec.wrapper}")
        run_id = str(run.info.run_id)
        store.log_batch(run_id, params=[Param(f"build.{name}", str(value)) for name, value in asdict(spec).items()])
    _append(config, run_id, {"started": time.time()})  # from here on the job is known to be this machine's
    with log_path(config, run_id).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "phi3core.build.jobs", run_id, json.dumps(asdict(spec))],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PHI3_USER": person.name},  # whose version it will be
            start_new_session=True,  # so that cancelling reaches the converter too, and Ctrl-C comes through us
        )
    _children[run_id] = child
    _append(config, run_id, {"pid": child.pid, "born": time.time()})
    return run_id


def get(config: Settings, run_id: str) -> Job:
    """A build as it stands now. A job whose process is gone is closed as failed on the way."""
    with translate_errors(config):
        run = mlflow_client(config).get_run(run_id)
    if not is_build_run(run.data.params):
        raise NotFound(f"The run {run_id} is not a build.")
    return _job(config, run)


def list_recent(config: Settings, limit: int = 20) -> list[Job]:
    """The latest builds, newest first, failed ones included."""
    home = experiment_id(config, tags.BUILDS)
    with translate_errors(config):
        runs = mlflow_client(config).search_runs([home], max_results=limit, order_by=["attributes.start_time DESC"])
    return [_job(config, run) for run in runs if is_build_run(run.data.params)]


def follow(config: Settings, run_id: str) -> Iterator[Job]:
    """The build, again and again, until it has ended."""
    while True:
        job = get(config, run_id)
        yield job
        if not job.running:
            return
        time.sleep(0.3)


def cancel(config: Settings, run_id: str, person: Person | None = None) -> Job:
    """Stop a build and everything it started; it registers nothing.

    Raises Forbidden unless the person is a releaser, BadInput when it is over already.
    """
    roles.require(person or roles.local_person(config), "releaser", "cancelling a build")
    job = get(config, run_id)
    if not job.running:
        raise BadInput(f"This build has ended already ({job.status.lower()}); there is nothing to cancel.")
    process = _process(run_id, _events(config, run_id))
    if process is None:
        raise NotFound("This build runs on another machine: cancel it there.")
    # Told to the file too: the signal may come before the process can hear it.
    _append(config, run_id, {"cancelled": True})
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    for _ in range(100):
        if not (job := get(config, run_id)).running:
            return job
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    _close(config, run_id, "KILLED", "Cancelled; it did not stop by itself within 10 s and was killed.")
    return get(config, run_id)


def log_path(config: Settings, run_id: str) -> Path:
    """The build's log on this machine: what the converter and the libraries printed."""
    return config.logs / f"build-{run_id}.log"


# ---------------------------------------------------------------- reading


def _job(config: Settings, run: Run) -> Job:
    run_id, tag_values = run.info.run_id, run.data.tags
    events = _events(config, run_id)
    process = _process(run_id, events)
    if _unclosed(run) and events and process is None:
        # Read again: the process may have closed its run and ended since the first look.
        with translate_errors(config):
            run = mlflow_client(config).get_run(run_id)
        if _unclosed(run):
            _close_dead(config, run_id)
            with translate_errors(config):
                run = mlflow_client(config).get_run(run_id)
        tag_values = run.data.tags
    version, status = tag_values.get(tags.VERSION, ""), run.info.status
    if status in ("FAILED", "KILLED") and process is not None:
        status = "RUNNING"  # MLflow has closed the run, and the process is about to say why
    return Job(
        run_id=run_id,
        experiment_id=run.info.experiment_id,
        spec=spec_from_params(run.data.params),
        status=status,
        started=from_ms(run.info.start_time),
        ended=from_ms(run.info.end_time) if run.info.end_time else None,
        user=tag_values.get(tags.USER, ""),
        reason=tag_values.get(tags.REASON, ""),
        version=int(version) if version.isdigit() else None,
        steps=_steps(tag_values.get(tags.WRAPPER, ""), tag_values.get(tags.STEP, ""), status, events),
    )


def _unclosed(run: Run) -> bool:
    """Running, or closed by MLflow before the job could say how it ended."""
    said = tags.REASON in run.data.tags or tags.VERSION in run.data.tags
    return run.info.status == "RUNNING" or (run.info.status in ("FAILED", "KILLED") and not said)


def _steps(wrapper: str, at: str, status: str, events: list[dict[str, Any]]) -> tuple[Step, ...]:
    """From the events where this machine has them, else from the run's tag that names the step it is at."""
    steps = {name: Step(name) for name in STEPS.get(wrapper, ())}
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


def _events(config: Settings, run_id: str) -> list[dict[str, Any]]:
    path = config.jobs / f"{run_id}.jsonl"
    if not path.is_file():
        return []
    # The last line may be half-written: the next look reads it whole.
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]


def _append(config: Settings, run_id: str, event: dict[str, Any]) -> None:
    with (config.jobs / f"{run_id}.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")


def _born(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The event that tells the process: its pid, and when it was started; zeros when it never was."""
    return next((event for event in events if "pid" in event), {"pid": 0, "born": 0.0})


def _process(run_id: str, events: list[dict[str, Any]]) -> int | None:
    """The pid of the job's living process on this machine, if there is one."""
    import psutil

    child = _children.get(run_id)
    if child is not None:
        if child.poll() is None:
            return child.pid
        _children.pop(run_id, None)
        if child.stdin:
            child.stdin.close()
        return None
    born = _born(events)
    if not born["pid"]:
        return None
    try:
        process = psutil.Process(born["pid"])
        # Pids are used again: a process much younger than the job is another one.
        same = abs(process.create_time() - born["born"]) < 5 and process.status() != psutil.STATUS_ZOMBIE
        return int(process.pid) if same else None
    except psutil.NoSuchProcess:
        return None


def _close_dead(config: Settings, run_id: str) -> None:
    """A job that was killed could close nothing and stop nothing that it had started."""
    events = _events(config, run_id)
    _kill_orphans(_born(events)["pid"])
    shutil.rmtree(config.tmp / run_id, ignore_errors=True)
    if any(event.get("cancelled") for event in events):
        _close(config, run_id, "KILLED", "Cancelled.")
    else:
        _close(config, run_id, "FAILED", "The build's process was killed, most likely because memory ran out.")


def _kill_orphans(session: int) -> None:
    """Kill what is left of a job's session: the converter, say. Its number is not used again while one lives."""
    import psutil

    if not session:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        if psutil.Process(session).status() != psutil.STATUS_ZOMBIE:
            return  # the number is another process's by now
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == session:
                process.kill()


def _close(config: Settings, run_id: str, status: str, reason: str) -> None:
    """Close a build's run. One that has registered its version has done its work, whatever happened after."""
    store = mlflow_client(config)
    with translate_errors(config):
        made = store.search_model_versions(f"run_id='{run_id}'")
        if made:
            store.set_tag(run_id, tags.VERSION, str(made[0].version))
            store.set_terminated(run_id, "FINISHED")
            return
        if reason:
            store.set_tag(run_id, tags.REASON, reason[:5000])
        store.set_terminated(run_id, status)
    with contextlib.suppress(Phi3Error):
        steps.discard_logged_models(config, run_id)


# ---------------------------------------------------------------- the child's side


def main(run_id: str, spec_json: str) -> int:
    """Build, and close the run whatever happens. Returns the exit status."""
    config = load_settings()
    work = config.tmp / run_id
    work.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(work)  # MLflow copies the model there first: keep it on the store's disk, and find it
    cancel = _Cancel()
    store = mlflow_client(config)
    last = ""

    def watch(progress: Progress) -> None:
        nonlocal last
        cancel.check()  # a library may have swallowed what the signal raised
        if progress.step == "register":
            cancel.over = True  # the point of no return: a version is there or it is not
        _append(config, run_id, asdict(progress))
        if progress.step != last:
            last = progress.step
            with translate_errors(config):
                store.set_tag(run_id, tags.STEP, last)

    status, reason = "FINISHED", ""
    try:
        steps.run_build(config, run_id, BuildSpec(**json.loads(spec_json)), watch)
    except Exception as error:
        import traceback

        if cancel.why:  # as Cancelled, or as whatever a library made of it
            status, reason = "KILLED", cancel.why
        elif isinstance(error, Phi3Error):
            status, reason = "FAILED", str(error)
        else:
            traceback.print_exc()
            first = (str(error).strip().splitlines() or [""])[0]
            status, reason = "FAILED", f"{type(error).__name__}: {first[:500]} The log has the details."
    cancel.over = True
    if reason:
        print(reason, flush=True)
    with contextlib.suppress(Phi3Error):
        _close(config, run_id, status, reason)
    with contextlib.suppress(Exception):  # the log on disk is the one that counts; this copy is for MLflow's UI
        store.log_artifact(run_id, str(log_path(config, run_id)))
    return 0 if status == "FINISHED" else 1


class _Cancel:
    """SIGTERM raises Cancelled in the main thread, and so does the end of the program that started us.

    why: in words, once that has happened. over: set it while the run is being closed, to be left alone.
    """

    def __init__(self) -> None:
        self.why, self.over = "", False
        self._because = "Cancelled."
        signal.signal(signal.SIGTERM, self._stop)
        on_parent_exit(self._orphaned)

    def check(self) -> None:
        if self.why:
            raise Cancelled(self.why)

    def _stop(self, *_: object) -> None:
        if not self.over and not self.why:  # once: the cleanup that follows is not to be interrupted
            self.why = self._because
            raise Cancelled(self.why)

    def _orphaned(self) -> None:
        self._because = "Cancelled: the program that started it has ended."
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
