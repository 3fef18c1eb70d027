"""Evaluations that this process makes in the background, followed from any page that shows them.

One that dies with the process is in the store as far as it came, and goes on when it is started again.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.chat.target import find_target
from phi3core.errors import Forbidden, Phi3Error
from phi3core.serving.pool import Pool
from phi3core.settings import Settings

from . import evaluate as evaluating
from . import prompt_sets, pulse
from .evaluate import Cancel, find_targets
from .results import EvaluationRun

Then = Callable[[str], object]
"""Makes something of the answers, once all are there; it is given the evaluation's id."""

_MOST_ENDED = 5  # jobs that have ended and are still told
_jobs: list[EvaluationJob] = []
_lock = threading.Lock()


class EvaluationJob:
    """An evaluation under way. done, total: answers, 0 before they are known. error: why it failed, a sentence.

    run_id: of what came of it, once it has ended. purpose: what is made of the answers, in words; "" for nothing.
    options: what is asked with.
    """

    def __init__(
        self,
        prompt_set: str,
        refs: Sequence[str],
        user: str,
        options: Mapping[str, Any] | None = None,
        purpose: str = "",
    ) -> None:
        self.id = uuid.uuid4().hex
        self.prompt_set, self.refs, self.user = prompt_set, tuple(refs), user
        self.options = {name: value for name, value in (options or {}).items() if value is not None}
        self.done, self.total = 0, 0
        self.state: Literal["running", "done", "stopped", "failed"] = "running"
        self.error, self.run_id, self.purpose = "", "", purpose
        self._cancel = Cancel()

    def may_be_stopped_by(self, person: Person) -> bool:
        """Whether it is the person's own, or the person is an admin."""
        return may_stop(self.user, person)

    def stop(self, person: Person | None = None) -> None:
        """End it; what was answered is kept. None: the app itself ends. Raises Forbidden for another's."""
        if person is not None and not self.may_be_stopped_by(person):
            raise Forbidden(f"Only {self.user}, who started it, and an admin can stop this evaluation.")
        self._cancel.stop()

    def _report(self, done: int, total: int) -> None:
        self.done, self.total = done, total

    def _run(
        self,
        settings: Settings,
        pool: Pool,
        person: Person,
        again: bool,
        then: Then | None,
        judge: str,
    ) -> None:
        try:
            found = evaluating.evaluate(
                settings,
                pool,
                self.prompt_set,
                self.refs,
                self.options,
                person,
                again,
                self._report,
                self._cancel,
                judge,
            )
            if then is not None and found.run.complete:
                then(found.run.run_id)
        except Phi3Error as error:
            self.error, self.state = str(error), "failed"
        except Exception as error:  # whatever it is, the job must not stay running
            self.error, self.state = f"The evaluation broke off: {error!r}", "failed"
        else:
            self.run_id, self.state = found.run.run_id, "done" if found.run.complete else "stopped"


def start(
    settings: Settings,
    pool: Pool,
    prompt_set: str,
    refs: Sequence[str],
    options: dict[str, Any] | None = None,
    person: Person | None = None,
    again: bool = False,
    purpose: str = "",
    then: Then | None = None,
    judge: str = "",
) -> EvaluationJob:
    """Begin an evaluation in the background; the first arguments are those of `evaluate.evaluate`.

    Args:
        purpose: what is made of the answers, in words.
        then: makes it. Where it raises, the job has failed.

    Raises:
        Forbidden: the person is a viewer.
        BadInput, NotFound: the prompt set or a version is no good.
        StoreDown: the store does not answer.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "reviewer", "evaluating versions")
    prompt_set = prompt_sets.find_set(settings, prompt_set).ref  # a set that is saved meanwhile is another one
    if judge:
        find_target(settings, judge)
    found = [target.ref for target in find_targets(settings, refs)]
    job = EvaluationJob(prompt_set, found, person.name, options, purpose)
    with _lock:
        for old in [held for held in _jobs if held.state != "running"][:-_MOST_ENDED]:
            _jobs.remove(old)
        _jobs.append(job)
    arguments = (settings, pool, person, again, then, judge)
    threading.Thread(target=job._run, args=arguments, daemon=True).start()
    return job


def may_stop(user: str, person: Person) -> bool:
    """Whether a person may stop what this user has started."""
    return person.may("admin") or (person.may("reviewer") and person.name == user)


def stop_elsewhere(settings: Settings, run: EvaluationRun, person: Person) -> None:
    """Have an evaluation end that another process makes, within a few seconds. Raises Forbidden or StoreDown."""
    by = run.progress.by if run.progress else run.by
    if not may_stop(by, person):
        raise Forbidden(f"Only {by}, who started it, and an admin can stop this evaluation.")
    pulse.ask_to_stop(settings, run.run_id)


def recent() -> list[EvaluationJob]:
    """Those that run, and the last few that have ended, newest first."""
    with _lock:
        return _jobs[::-1]


def stop_all() -> None:
    """End all of them, before the app ends: they go on when they are started again."""
    for job in recent():
        job.stop()
