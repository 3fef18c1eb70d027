"""A model as the judge of answers, by MLflow's own judges of correctness and of guidelines.

It is an endpoint that speaks OpenAI's protocol, or a registered version on its model server. An item's reference answer
is judged by correctness, its criteria by guidelines. A verdict is an assessment on the answer's trace whose id follows
from trace, judge and name, so that judging again doubles nothing and asks only what is missing. What is no verdict is
kept without a value, with the judge's words. Answers are other people's texts, and may talk to the judge: a verdict is
an opinion.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from phi3core import tags
from phi3core.chat.target import find_target
from phi3core.clean_text import without_control
from phi3core.endpoints.client import check_endpoint
from phi3core.errors import BadInput, ServerError
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.traces import trace_search, turn_trace
from phi3core.traces.turn import Turn

from . import results
from .items import Item
from .results import Evaluation

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities import Feedback

_VERDICTS = {"yes": True, "no": False}
_LONGEST = 512  # tokens of a verdict, its reasons first
_FAILURES = 3  # in a row, after which the judge is asked no more
_NO_VERDICT = "Failed to parse response from judge model. Response: "  # MLflow's own words
_WORDS = 4000  # letters of a judge's words that are kept


class Stoppable(Protocol):
    """What says that the work is to end."""

    @property
    def stopped(self) -> bool: ...


@dataclass(frozen=True)
class Judge:
    """Where the judge is asked. url: of its chat completions. key: may be empty. model: its name there."""

    ref: str
    url: str
    key: str
    model: str


@dataclass(frozen=True)
class _Task:
    name: str
    item: Item
    turn: Turn


def judge_answers(
    settings: Settings,
    pool: Pool,
    found: Evaluation,
    items: Sequence[Item],
    judge: str,
    report: Callable[[int, int], None],
    cancel: Stoppable,
) -> None:
    """Have the answers of an evaluation judged, those that this judge has not judged yet.

    Args:
        items: of its prompt set; those without criteria and reference answer are not judged.
        judge: a version's reference or ``endpoint:NAME``.
        report: is called with the answers and verdicts that are there, and how many there will be.

    Raises:
        BadInput, NotFound: the judge is no good.
        ServerError: the judge can't be asked; the verdicts so far are kept.
        StoreDown: the store does not answer.
    """
    target = find_target(settings, judge)
    with translate_errors(settings):
        mlflow_client(settings).set_tag(found.run.run_id, tags.JUDGE, target.ref)
    tasks = [*_missing(settings, found.run.run_id, {item.id: item for item in items}, target.ref)]
    if not tasks:
        return
    done, failures, why, counting = 0, 0, "", threading.Lock()
    with open_judge(settings, pool, judge) as opened:

        def ask(task: _Task) -> bool:
            nonlocal done, failures, why
            if cancel.stopped or failures >= _FAILURES:
                return False
            try:
                _keep(settings, task, opened, ask_judge(opened, task.name, task.item, task.turn))
            except ServerError as error:
                with counting:
                    failures, why = failures + 1, str(error)
                return False
            with counting:
                done, failures = done + 1, 0
                report(len(found.answers) + done, len(found.answers) + len(tasks))
            return True

        with ThreadPoolExecutor(settings.parallel) as workers:
            told = [*workers.map(ask, tasks)]
    if why and not cancel.stopped and not all(told):
        raise ServerError(f"{told.count(False)} of {len(tasks)} verdicts are missing: {why} Evaluate once more.")


@contextlib.contextmanager
def open_judge(settings: Settings, pool: Pool, ref: str) -> Iterator[Judge]:
    """The judge, its model server running where it is a version. Raises as `judge_answers` does."""
    target = find_target(settings, ref)
    if isinstance(target, Version):
        server = pool.open(target)
        with server.hold():
            server.wait_ready()
            yield Judge(target.ref, f"{server.url}/v1/chat/completions", server.key, target.ref)
    elif target.kind != "openai":
        raise BadInput(f"{target.name} can't judge: a judge must speak OpenAI's protocol.")
    elif why := check_endpoint(target):
        raise ServerError(f"The judge can't be asked. {why}")
    else:
        yield Judge(target.ref, f"{target.url}/chat/completions", target.key, target.model)


def ask_judge(judge: Judge, name: str, item: Item, turn: Turn) -> Feedback:
    """The verdict on an answer, by MLflow's own judge.

    Args:
        name: ``criteria`` or ``correctness``.

    Returns:
        The assessment: its value true or false with the reasons, or none, with the judge's words as its error.

    Raises:
        ServerError: the judge can't be asked.
    """
    from mlflow.entities import AssessmentError, AssessmentSource, Feedback
    from mlflow.genai.judges.utils import invoke_judge_model

    source = AssessmentSource(source_type="LLM_JUDGE", source_id=judge.ref)
    if turn.state != "done" or not turn.answer.strip():
        return Feedback(name=name, value=False, source=source, rationale="There is no answer.")
    # MLflow wants the variable, and the header below is what is sent.
    os.environ.setdefault("OPENAI_API_KEY", "none")
    try:
        given = invoke_judge_model(
            f"openai:/{judge.model}", _prompt(name, item, turn), name, num_retries=1, base_url=judge.url,
            extra_headers={"Authorization": f"Bearer {judge.key or 'none'}"},
            inference_params={"temperature": 0, "max_tokens": _LONGEST},
        )  # fmt: skip
        value, words = given.value, str(given.rationale or "")
    except Exception as error:  # MLflow's, pydantic's, or what a judge's JSON without a result leads to
        value, words = None, _words_of(judge, error)
    verdict = _VERDICTS.get(str(value).strip().casefold())
    if verdict is None:
        said = f"{value}. {words}" if value is not None else words
        problem = AssessmentError("NO_VERDICT", without_control(said[:_WORDS]) or "The judge said nothing.")
        return Feedback(name=name, source=source, error=problem)
    return Feedback(name=name, value=verdict, source=source, rationale=without_control(words[:_WORDS]))


def _prompt(name: str, item: Item, turn: Turn) -> str:
    from mlflow.genai.judges.prompts import correctness, guidelines

    asked = "\n".join(f"{message['role']}: {message['content']}" for message in item.messages)
    if name == "correctness":
        return correctness.get_prompt(asked, turn.answer, item.expectations["reference"])
    return guidelines.get_prompt(item.expectations["criteria"], {"request": asked, "response": turn.answer})


def _words_of(judge: Judge, error: Exception) -> str:
    """The judge's words where it answered no verdict. Raises ServerError where it gave no answer at all."""
    text = str(getattr(error, "message", "") or error)
    if text.startswith(_NO_VERDICT):
        return text.removeprefix(_NO_VERDICT)
    if isinstance(error, KeyError | TypeError | AttributeError):
        return f"The judge's JSON has no result ({error!r})."
    if getattr(error.__cause__, "status_code", None) == 400:  # too long for it, for example
        return f"The judge took no such question: {text[:300]}"
    if judge.key:
        text = text.replace(judge.key, "•••")
    raise ServerError(f"The judge {judge.ref} can't be asked: {text[:300]}") from error


def _missing(settings: Settings, run_id: str, items: Mapping[str, Item], judge: str) -> Iterator[_Task]:
    """What this judge has not judged yet."""
    asked = {"correctness": "reference", "criteria": "criteria"}
    where = results.of_run(run_id)
    for trace in trace_search.search_traces(settings, where, page=100, experiment=tags.EVALUATIONS):
        item = items.get(trace.info.trace_metadata.get(tags.ITEM, ""))
        if item is None or not trace.data.spans:
            continue
        given = [one for one in trace.info.assessments or [] if one.source.source_type == "LLM_JUDGE"]
        judged = {one.name for one in given if one.source.source_id == judge}
        turn = turn_trace.read_turn(trace)
        for name, expected in asked.items():
            if expected in item.expectations and name not in judged:
                yield _Task(name, item, turn)


def _keep(settings: Settings, task: _Task, judge: Judge, given: Feedback) -> None:
    id = hashlib.sha256(f"{task.turn.trace_id} {task.name} {judge.ref}".encode()).hexdigest()[:32]
    given.trace_id, given.assessment_id = task.turn.trace_id, f"a-{id}"
    with translate_errors(settings):
        trace_search.tracing_client(settings).log_assessment(task.turn.trace_id, given)
