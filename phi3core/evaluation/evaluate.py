"""Asking versions all items of a prompt set, and scoring what they answer.

An answer is a trace whose id follows from the evaluation, the version and the item: what was interrupted anywhere goes
on with what is missing or was not written whole, and nothing is there twice. The same evaluation asked for again is the
same run.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.chat.answer import answer
from phi3core.chat.live_turn import LiveTurn
from phi3core.chat.target import Target, find_target, model_id
from phi3core.errors import BadInput, Busy, ServerError
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.store.client import experiment_id
from phi3core.traces.trace_search import RUN
from phi3core.traces.turn import Turn
from phi3core.traces.turn_trace import make_info, make_trace

from . import evidence, judging, prompt_sets, results, runs, scorers
from .answer_writer import AnswerWriter
from .items import Item
from .pulse import Pulse
from .results import Evaluation

if TYPE_CHECKING:
    from mlflow.entities import Assessment

Report = Callable[[int, int], None]
"""Is called with how many answers there are, and how many there will be."""

MOST_VERSIONS = 8
_FAILURES = 3  # in a row, after which a version is asked no more


@dataclass
class Cancel:
    """Stops an evaluation from another thread; what was answered is kept."""

    _event: threading.Event = field(default_factory=threading.Event)
    _running: set[LiveTurn] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        """End it, and the answers that are coming."""
        self._event.set()
        with self._lock:
            running = [*self._running]
        for live in running:
            live.stop()

    @property
    def stopped(self) -> bool:
        return self._event.is_set()

    def running(self, live: LiveTurn, on: bool) -> None:
        """Note that an answer is coming, or is not any more."""
        with self._lock:
            (self._running.add if on else self._running.discard)(live)
        if on and self.stopped:
            live.stop()


def evaluate(
    settings: Settings,
    pool: Pool,
    prompt_set: str,
    refs: Sequence[str],
    options: dict[str, Any] | None = None,
    person: Person | None = None,
    again: bool = False,
    report: Report | None = None,
    cancel: Cancel | None = None,
    judge: str = "",
) -> Evaluation:
    """Ask versions or endpoints every item of a prompt set, and score the answers.

    Args:
        prompt_set: ``name`` or ``name@digest``.
        refs: versions, as everywhere, or ``endpoint:NAME``.
        options: generation options under OpenAI's names; None left out. All versions are asked with the same ones.
        again: make a new evaluation where the same one was made before.
        report, cancel: to follow and to stop it.
        judge: a version or an endpoint that judges the answers by the items' criteria and reference answers, once they
            are there.

    Returns:
        The evaluation; one that was cancelled is not complete, and goes on when it is asked for once more.

    Raises:
        Forbidden: the person is a viewer.
        BadInput, NotFound: the prompt set, a version or an option is no good.
        Busy: it is under way in another process of this machine.
        ServerError: answers are missing because a version or an endpoint failed; what was answered is kept.
        StoreDown: the store does not answer.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "reviewer", "evaluating versions")
    options = {name: value for name, value in (options or {}).items() if value is not None}
    found, items = prompt_sets.read_set(settings, prompt_set)
    targets = find_targets(settings, refs)
    key = runs.key_of(found.digest, targets, options)
    report, cancel = report or (lambda _done, _total: None), cancel or Cancel()
    try:
        with FileLock(settings.locks / f"evaluation-{key[:16]}.lock", timeout=0):
            run_id, complete = runs.open_run(settings, key, found, items, targets, options, person, again)
            missing: list[str] = []
            try:
                if not complete:
                    runs.reopen(settings, run_id)
                    with Pulse(settings, run_id, person.name, cancel.stop) as pulse:

                        def told(done: int, total: int) -> None:
                            pulse.report(done, total)
                            report(done, total)

                        missing = _ask_missing(settings, pool, run_id, targets, items, options, person, told, cancel)
                read = results.read_evaluation(settings, run_id)
                if not complete:
                    if not missing and not cancel.stopped:  # before it is complete: where this fails, it goes on
                        evidence.seal_evaluation(settings, person, read, f"{found.name}@{found.digest}", options)
                    read = runs.close_run(settings, read, missing, cancel.stopped)
            except BaseException:  # a bug, or Ctrl-C: the run must not seem to go on
                if not complete:
                    runs.end_run(settings, run_id, "KILLED" if cancel.stopped else "FAILED")
                raise
            if judge and read.run.complete:
                judging.judge_answers(settings, pool, read, items, judge, report, cancel)
                read = results.read_evaluation(settings, run_id)
                runs.log_means(settings, read)
    except Timeout as error:
        raise Busy("This evaluation is under way already: follow it where it was started.") from error
    if missing and not cancel.stopped:
        raise ServerError(
            f"{len(missing)} of {len(items) * len(targets)} answers are missing: {missing[0]} "
            "The others are kept: evaluate once more, and only what is missing is asked."
        )
    refs = tuple(target.ref for target in targets)  # in the order asked for
    return replace(read, run=replace(read.run, refs=refs, progress=None))


def find_targets(settings: Settings, refs: Sequence[str]) -> list[Target]:
    """The versions and endpoints that references mean now, each once. Raises BadInput, NotFound or StoreDown."""
    if not 1 <= len(refs) <= MOST_VERSIONS:
        raise BadInput(f"An evaluation takes one to {MOST_VERSIONS} versions, and these are {len(refs)}.")
    found: dict[str, Target] = {}
    for ref in refs:
        target = find_target(settings, ref)
        found[target.ref] = target
    return [*found.values()]


def _ask_missing(
    settings: Settings,
    pool: Pool,
    run_id: str,
    targets: Sequence[Target],
    items: Sequence[Item],
    options: dict[str, Any],
    person: Person,
    report: Report,
    cancel: Cancel,
) -> list[str]:
    """Ask what was not answered yet. Returns why answers are missing, one sentence for each."""
    there = results.written_answers_of(settings, run_id)
    home, missing = experiment_id(settings, tags.EVALUATIONS), []
    total, done = len(targets) * len(items), len(there)
    in_a_row: Counter[str] = Counter()  # failures of a version, by its reference
    report(done, total)

    def written(more: int) -> None:
        nonlocal done
        done += more
        report(done, total)

    def ask(target: Target, item: Item) -> str:
        turn = _turn(run_id, target, item, options, person)
        if turn.trace_id in there:
            return ""
        if cancel.stopped:
            return "It was stopped."
        if in_a_row[target.ref] >= _FAILURES:
            return f"{target.ref} failed {_FAILURES} times in a row."
        live = LiveTurn(turn, lenient=True)
        cancel.running(live, True)
        try:
            outcome = answer(pool, live, target, list(item.messages), "")
        finally:
            cancel.running(live, False)
        live.end_answer()
        turn = live.ended(outcome)
        if turn.state == "stopped":
            return "It was stopped."
        if turn.state == "failed" and not (outcome.context_full or outcome.refused):
            in_a_row[target.ref] += 1
            return turn.error
        in_a_row[target.ref] = 0
        metadata = {RUN: run_id, tags.ITEM: item.id}
        info = make_info(turn, home, metadata, assessments=_assessments(turn, scorers.score(item, turn)))
        writer.put(make_trace(turn, list(item.messages), info))
        return ""

    with AnswerWriter(settings, written) as writer:
        for target in targets:
            with ThreadPoolExecutor(settings.parallel) as workers:
                try:
                    missing += [why for why in workers.map(lambda item, of=target: ask(of, item), items) if why]
                except BaseException:  # Ctrl-C, or a store that went: the workers are waited for
                    cancel.stop()
                    raise
    return missing


def _turn(run_id: str, target: Target, item: Item, options: dict[str, Any], person: Person) -> Turn:
    id = hashlib.sha256(f"{run_id}\n{target.ref}\n{item.id}".encode()).hexdigest()[:32]
    system = item.messages[0]["content"] if item.messages[0]["role"] == "system" else ""
    asked = {name: value for name, value in options.items() if name != "seed"}  # it is left out where it is not taken
    return Turn(
        item.prompt, target.ref, system, asked, id, user=person.name, seed=options.get("seed"),
        model_id=model_id(target),
    )  # fmt: skip


def _assessments(turn: Turn, scores: dict[str, scorers.Score]) -> Sequence[Assessment]:
    from mlflow.entities import AssessmentSource, Feedback

    source = AssessmentSource(source_type="CODE", source_id="phi3core.evaluation.scorers")
    found = [Feedback(name=name, value=value, source=source, trace_id=turn.trace_id) for name, value in scores.items()]
    for given in found:  # written again, it is the same one
        given.assessment_id = f"a-{hashlib.sha256(f'{turn.trace_id} {given.name}'.encode()).hexdigest()[:32]}"
    return found
