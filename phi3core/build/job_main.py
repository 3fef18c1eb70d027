"""The program of a job's child process: ``python -m phi3core.build.job_main RUN_ID SPEC``.

`jobs` starts it, with a pipe as standard input. It builds or measures, writes its progress as events and as tags of the
run, and closes the run. SIGTERM cancels it, and so does the end of the program that started it, which closes the pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict

from phi3core import tags
from phi3core.clock import SYSTEM, Clock
from phi3core.errors import Cancelled, Phi3Error
from phi3core.parent_process import on_parent_exit
from phi3core.settings import Settings, load_settings
from phi3core.store.client import mlflow_client, translate_errors

from . import declared_environment, measure_again, process_tree, steps
from .job_files import append_event, log_path, read_events
from .parity import parity
from .spec import BuildSpec
from .steps import Progress

_WAIT_INTERVAL = 0.3  # seconds between two looks at the job before


def main(run_id: str, spec_json: str) -> int:
    """Build or measure, and close the run, also after an error. Returns the exit status.

    spec_json: a `BuildSpec`, or what another job was asked for (`jobs.start_parity`, …); `after` is a job that ends
    first.
    """
    config = load_settings()
    work = config.tmp / run_id
    work.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(work)  # MLflow copies the model there first: keep it on the store's disk, and find it
    cancellation = Cancellation()
    store = mlflow_client(config)
    last = ""

    def watch(progress: Progress) -> None:
        nonlocal last
        cancellation.check()  # a library may have swallowed what the signal raised
        if progress.step in ("register", "record"):
            cancellation.over = True  # the point of no return: a version, or its figures, are there or they are not
        append_event(config, run_id, asdict(progress))
        if progress.step != last:
            last = progress.step
            with translate_errors(config):
                store.set_tag(run_id, tags.STEP, last)

    status, reason = "FINISHED", ""
    try:
        asked = json.loads(spec_json)
        wait_for_job(config, asked.pop("after", ""), watch)
        match asked.pop("kind", "build"):
            case "measure":
                measure_again.run_measurement(config, run_id, asked["ref"], watch)
            case "parity":
                parity.run_parity(config, run_id, asked["ref"], asked["base"], watch)
            case "environment":
                declared_environment.run_trial(config, run_id, asked["ref"], watch)
            case _:
                steps.run_build(config, run_id, BuildSpec(**asked), watch)
    except Exception as error:
        import traceback

        if cancellation.reason:  # as Cancelled, or as the error that a library made of it
            status, reason = "KILLED", cancellation.reason
        elif isinstance(error, Phi3Error):
            status, reason = "FAILED", str(error)
        else:
            traceback.print_exc()
            first = (str(error).strip().splitlines() or [""])[0]
            status, reason = "FAILED", f"{type(error).__name__}: {first[:500]} The log has the details."
    cancellation.over = True
    if reason:
        print(reason, flush=True)
    with contextlib.suppress(Phi3Error):
        steps.close_run(config, run_id, status, reason)
    with contextlib.suppress(Exception):  # the log on disk is the one that counts; this copy is for MLflow's UI
        store.log_artifact(run_id, str(log_path(config, run_id)))
    return 0 if status == "FINISHED" else 1


def wait_for_job(config: Settings, run_id: str, watch: Callable[[Progress], None], clock: Clock = SYSTEM) -> None:
    """Until the process of a job of this machine has ended. run_id: empty for none."""
    told = False
    while run_id and process_tree.living_process(run_id, read_events(config, run_id)):
        if not told:
            watch(Progress("weights", "waiting for the job that was asked for before it"))
        told = True
        clock.sleep(_WAIT_INTERVAL)


class Cancellation:
    """SIGTERM raises Cancelled in the main thread, and so does the end of the program that started this one.

    reason: a sentence, once that has happened. over: set while the run is being closed, which must not be interrupted.
    """

    def __init__(self) -> None:
        self.reason, self.over = "", False
        self._next_reason = "Cancelled."
        signal.signal(signal.SIGTERM, self._stop)
        on_parent_exit(self._cancel_on_parent_exit)

    def check(self) -> None:
        if self.reason:
            raise Cancelled(self.reason)

    def _stop(self, *_: object) -> None:
        if not self.over and not self.reason:  # once: the cleanup that follows is not to be interrupted
            self.reason = self._next_reason
            raise Cancelled(self.reason)

    def _cancel_on_parent_exit(self) -> None:
        self._next_reason = "Cancelled: the program that started it has ended."
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
