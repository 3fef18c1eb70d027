"""Builds and measurements as child processes: started, watched, cancelled, listed.

A job is an MLflow run in the experiment of builds; its steps are tags of the run, and its progress is in a file on its
machine (`job_files`). A job goes on when the page that started it closes, and ends when the program that started it
ends. What runs in the child is `job_main`.
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
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.clock import SYSTEM, Clock
from phi3core.errors import BadInput, NotFound
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors

from . import measure_again, process_tree, steps
from .job import Job, is_unclosed, job_from_run
from .job_files import append_event, log_path, read_events
from .parity import parity
from .spec import KIND, MEASURES, BuildSpec, is_job_run

if TYPE_CHECKING:
    from mlflow.entities import Run

_FOLLOW_INTERVAL = 0.3  # seconds between two readings of a job
_CANCEL_INTERVAL, _CANCEL_CHECKS = 0.1, 100


def start(config: Settings, spec: BuildSpec, person: Person | None = None, after: str = "") -> str:
    """Start a build in a child process and return its run id.

    Args:
        after: the run id of a job of this machine that it lets end first, whatever comes of that.

    Raises Forbidden unless the person is a releaser, BadInput or StoreDown, before anything starts.
    """
    person = person or roles.local_person(config)
    roles.require(person, "releaser", "building a version")
    spec = spec.validated()
    fields = {name: value for name, value in asdict(spec).items() if value != ""}
    parent = os.environ.get("MLFLOW_RUN_ID", "")  # set by “mlflow run”
    asked = asdict(spec) | {"after": after}
    return _start(config, person, spec, fields, asked, f"{spec.name} {spec.wrapper}", parent)


def start_measuring(config: Settings, ref: str, person: Person | None = None) -> str:
    """Start measuring a registered version anew in a child process and return the run id of the job.

    Raises Forbidden unless the person is a releaser, BadInput for what can't be measured, NotFound or StoreDown, before
    anything starts.
    """
    person = person or roles.local_person(config)
    roles.require(person, "releaser", f"measuring {ref}")
    version = measure_again.find_measurable(config, ref)
    return _start_task(config, person, version, {"kind": "measure"}, f"{version.ref} measured again")


def start_parity(config: Settings, ref: str, base: str = "", person: Person | None = None, after: str = "") -> str:
    """Start holding a version against its source or another version in a child process and return the job's run id.

    Args:
        base: the other version; empty for the weights that the version was built from.
        after: as `start`.

    Raises Forbidden unless the person is a releaser, BadInput for what can't be compared, NotFound or StoreDown, before
    anything starts.
    """
    person = person or roles.local_person(config)
    roles.require(person, "releaser", f"comparing {ref} with {base or 'its source'}")
    version, other = parity.find_comparable(config, ref, base)
    title = f"{version.ref} against {other.ref if other else 'its source'}"
    task = {"kind": "parity", "base": other.ref if other else "", "after": after}
    return _start_task(config, person, version, task, title)


def start_trial(config: Settings, ref: str, person: Person | None = None) -> str:
    """Start trying the environment that a version declares in a child process and return the job's run id.

    Raises as `start_measuring`.
    """
    person = person or roles.local_person(config)
    roles.require(person, "releaser", f"trying the environment of {ref}")
    version = measure_again.find_measurable(config, ref)
    return _start_task(config, person, version, {"kind": "environment"}, f"The environment of {version.ref}")


def _start_task(config: Settings, person: Person, version: Version, task: dict[str, str], title: str) -> str:
    """Start a job that does something with a registered version. task: its kind, and what else it needs to know."""
    fields = {"name": version.name, "wrapper": version.wrapper, "source": version.tags.get(tags.SOURCE, "unknown")}
    spec = BuildSpec(**fields)  # type: ignore[arg-type]
    about = {MEASURES: version.ref, KIND: task["kind"]}
    return _start(config, person, spec, fields, task | {"ref": version.ref}, title, version.run_id, about)


def _start(
    config: Settings,
    person: Person,
    spec: BuildSpec,
    fields: dict[str, Any],
    asked: dict[str, Any],
    title: str,
    parent: str,
    about: dict[str, str] | None = None,
) -> str:
    """Start a job and return its run id.

    Args:
        fields: what is recorded of the specification. about: parameters that are recorded beside it.
        asked: what the child process is told to do.
        parent: a run id or "".
    """
    store, home = mlflow_client(config), experiment_id(config, tags.BUILDS)
    tag_values = {tags.MODEL_NAME: spec.name, tags.WRAPPER: spec.wrapper, tags.HOST: socket.gethostname()}
    tag_values[tags.USER] = person.name
    if parent:
        tag_values["mlflow.parentRunId"] = parent
    params = {f"build.{name}": str(value) for name, value in fields.items()} | (about or {})
    with translate_errors(config):
        from mlflow.entities import Param

        run = store.create_run(home, tags=tag_values, run_name=title)
        run_id = str(run.info.run_id)
        store.log_batch(run_id, params=[Param(name, value) for name, value in params.items()])
    append_event(config, run_id, {"started": time.time()})  # from here on the job is known to be this machine's
    with log_path(config, run_id).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "phi3core.build.job_main", run_id, json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PHI3_USER": person.name},  # whose version it will be
            start_new_session=True,  # cancelling reaches the converter too; Ctrl-C comes through this process
        )
    process_tree.add_child(run_id, child)
    append_event(config, run_id, {"pid": child.pid, "born": time.time()})
    return run_id


def get(config: Settings, run_id: str) -> Job:
    """A job as it stands now. A job whose process is gone is closed as failed on the way."""
    with translate_errors(config):
        run = mlflow_client(config).get_run(run_id)
    if not is_job_run(run.data.params):
        raise NotFound(f"The run {run_id} is not a build.")
    return _job(config, run)


def list_recent(config: Settings, limit: int = 20) -> list[Job]:
    """The latest jobs, newest first, failed ones included."""
    home = experiment_id(config, tags.BUILDS)
    with translate_errors(config):
        runs = mlflow_client(config).search_runs([home], max_results=limit, order_by=["attributes.start_time DESC"])
    return [_job(config, run) for run in runs if is_job_run(run.data.params)]


def find_running(config: Settings, ref: str, run_id: str, kind: str) -> str:
    """The run id of the job that does something with a version at this moment, "" where none does.

    Args:
        ref: the version.
        run_id: its own run, under which its jobs are.
        kind: of the job (job.Job).
    """
    if not run_id:
        return ""
    home, below = experiment_id(config, tags.BUILDS), f"tags.`mlflow.parentRunId` = '{run_id}'"
    with translate_errors(config):
        runs = mlflow_client(config).search_runs([home], below, max_results=10, order_by=["attributes.start_time DESC"])
    found = (_job(config, run) for run in runs if run.data.params.get(MEASURES) == ref and is_unclosed(run))
    return next((job.run_id for job in found if job.running and job.kind == kind), "")


def follow(config: Settings, run_id: str, clock: Clock = SYSTEM) -> Iterator[Job]:
    """The job, again and again, until it has ended."""
    while True:
        job = get(config, run_id)
        yield job
        if not job.running:
            return
        clock.sleep(_FOLLOW_INTERVAL)


def cancel(config: Settings, run_id: str, person: Person | None = None, clock: Clock = SYSTEM) -> Job:
    """Stop a job and everything it started; it registers and records nothing.

    Raises Forbidden unless the person is a releaser, BadInput when it is over already.
    """
    roles.require(person or roles.local_person(config), "releaser", "cancelling a build")
    job = get(config, run_id)
    if not job.running:
        raise BadInput(f"This job has ended already ({job.status.lower()}); there is nothing to cancel.")
    process = process_tree.living_process(run_id, read_events(config, run_id))
    if process is None:
        raise NotFound("This job runs on another machine: cancel it there.")
    # In the file too: the signal may come before the process has its handler.
    append_event(config, run_id, {"cancelled": True})
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    for _ in range(_CANCEL_CHECKS):
        if not (job := get(config, run_id)).running:
            return job
        clock.sleep(_CANCEL_INTERVAL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    steps.close_run(config, run_id, "KILLED", "Cancelled; it did not stop by itself within 10 s and was killed.")
    return get(config, run_id)


def _job(config: Settings, run: Run) -> Job:
    """The job of a run. A run whose process is gone is closed."""
    run_id = run.info.run_id
    events = read_events(config, run_id)
    process = process_tree.living_process(run_id, events)
    if is_unclosed(run) and events and process is None:
        # Read again: the process may have closed its run and ended since the run was read.
        with translate_errors(config):
            run = mlflow_client(config).get_run(run_id)
        if is_unclosed(run):
            _close_dead(config, run_id)
            with translate_errors(config):
                run = mlflow_client(config).get_run(run_id)
    return job_from_run(run, events, alive=process is not None)


def _close_dead(config: Settings, run_id: str) -> None:
    """Close the run of a job that was killed: it could close nothing and stop nothing that it had started."""
    events = read_events(config, run_id)
    pid, _ = process_tree.started_process(events)
    process_tree.kill_session(pid)
    shutil.rmtree(config.tmp / run_id, ignore_errors=True)
    if any(event.get("cancelled") for event in events):
        steps.close_run(config, run_id, "KILLED", "Cancelled.")
    else:
        steps.close_run(config, run_id, "FAILED", "The job's process was killed, most likely because memory ran out.")
