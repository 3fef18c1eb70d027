"""Benchmarks that this process runs in the background, followed from any page that shows them.

One that dies with the process goes on where it was when it is started again.
"""

from __future__ import annotations

import threading
import uuid
from typing import Literal

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import Busy, Cancelled, Forbidden, Phi3Error
from phi3core.registry import reader
from phi3core.serving.pool import Pool
from phi3core.settings import Settings

from . import benchmark, suites

_MOST_ENDED = 5  # jobs that have ended and are still told
_jobs: list[BenchmarkJob] = []
_lock = threading.Lock()


class BenchmarkJob:
    """A benchmark under way. share: of it that is done, None while that is not known. text: what is done now.

    error: why it ended without a score, a sentence.
    """

    def __init__(self, ref: str, suite: str, user: str) -> None:
        self.id = uuid.uuid4().hex
        self.ref, self.suite, self.user = ref, suite, user
        self.share: float | None = None
        self.text, self.error = "waiting", ""
        self.state: Literal["running", "done", "stopped", "failed"] = "running"
        self._cancel = threading.Event()

    def may_be_stopped_by(self, person: Person) -> bool:
        """Whether it is the person's own, or the person is an admin."""
        return person.may("admin") or (person.may("releaser") and person.name == self.user)

    def stop(self, person: Person | None = None) -> None:
        """End it; what was answered is kept. None: the app itself ends. Raises Forbidden for another's."""
        if person is not None and not self.may_be_stopped_by(person):
            raise Forbidden(f"Only {self.user}, who started it, and an admin can stop this benchmark.")
        self._cancel.set()

    def _report(self, share: float | None, text: str) -> None:
        self.share, self.text = share, text

    def _run(self, settings: Settings, pool: Pool, limit: int | None, seed: int, hub: bool, person: Person) -> None:
        try:
            benchmark.run_benchmark(
                settings, pool, self.ref, self.suite, limit, seed, hub, person, self._report, self._cancel
            )
        except Cancelled as error:
            self.error, self.state = str(error), "stopped"
        except Phi3Error as error:
            self.error, self.state = str(error), "failed"
        except Exception as error:  # whatever it is, the job must not stay running
            self.error, self.state = f"The benchmark broke off: {error!r}", "failed"
        else:
            self.state = "done"


def start(
    settings: Settings, pool: Pool, ref: str, suite: str, limit: int | None, seed: int, hub: bool, person: Person
) -> BenchmarkJob:
    """Begin a benchmark in the background; the arguments are those of `benchmark.run_benchmark`.

    Raises:
        Forbidden: the person is no releaser.
        BadInput, NotFound: the version or the suite is no good.
        Busy: the same is under way here.
        StoreDown: the store does not answer.
    """
    roles.require(person, "releaser", "running a benchmark")
    job = BenchmarkJob(reader.get_version(settings, ref).ref, suites.find_suite(suite).name, person.name)
    with _lock:
        if any((one.ref, one.suite, one.state) == (job.ref, job.suite, "running") for one in _jobs):
            raise Busy(f"{suite} is being run on {job.ref} already. Wait for its end.")
        for old in [held for held in _jobs if held.state != "running"][:-_MOST_ENDED]:
            _jobs.remove(old)
        _jobs.append(job)
    threading.Thread(target=job._run, args=(settings, pool, limit, seed, hub, person), daemon=True).start()
    return job


def of_version(ref: str) -> list[BenchmarkJob]:
    """Those of a version that run, and the last few that have ended, newest first."""
    with _lock:
        return [job for job in reversed(_jobs) if job.ref == ref]


def stop_all() -> None:
    """End all of them, before the app ends: they go on when they are started again."""
    with _lock:
        running = [*_jobs]
    for job in running:
        job.stop()
