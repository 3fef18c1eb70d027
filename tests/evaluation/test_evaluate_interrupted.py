"""Evaluations that were killed, stopped or begun twice go on, and nothing is there twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from filelock import FileLock
from mlflow.entities import Trace

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import Busy, Forbidden, StoreDown
from phi3core.evaluation import answer_writer, jobs, prompt_sets, pulse, results, runs
from phi3core.evaluation.evaluate import Cancel
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from phi3core.timestamps import now_ms
from phi3core.traces import trace_search, turn_trace
from tests.app.servers import FakePool
from tests.evaluation.evaluating import Engines, asked_of, run
from tests.evaluation.sets import CAPITALS
from tests.support import fakes
from tests.support.judging import ADA, EVE


@pytest.fixture(autouse=True)
def saved(settings: Settings) -> prompt_sets.PromptSet:
    return prompt_sets.save_set(settings, "capitals", CAPITALS)


def test_one_that_was_killed_goes_on_with_what_is_missing(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def dies(settings: Settings, traces: Sequence[Trace]) -> None:
        for trace in traces:
            if len(written) == 4:
                raise StoreDown("The store has gone.")  # in the moment between the answer and its trace
            written.append(trace.info.trace_id)
            turn_trace.write_traces(settings, [trace])

    monkeypatch.setattr(answer_writer, "write_traces", dies)
    with pytest.raises(StoreDown):
        run(settings, pool)
    (broken,) = results.search_evaluations(settings)
    kept = len(results.read_evaluation(settings, broken.run_id).answers)
    asked = asked_of(engines)
    monkeypatch.setattr(answer_writer, "write_traces", turn_trace.write_traces)

    found = run(settings, pool, again=True)

    assert (broken.complete, found.run.run_id, found.run.complete) == (False, broken.run_id, True)
    assert len(found.answers) == len({one.trace_id for one in found.answers}) == 6
    assert asked_of(engines) - asked == 6 - kept


def test_one_that_is_cancelled_keeps_what_was_answered(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines
) -> None:
    engines["phi3/2"].pause = 0.3
    cancel = Cancel()

    stopped = run(settings, pool, cancel=cancel, report=lambda done, _: cancel.stop() if done == 3 else None)

    assert (len(stopped.answers), stopped.run.complete) == (3, False)
    assert {one.ref for one in stopped.answers} == {"phi3/1"}
    engines["phi3/2"].pause = 0
    assert run(settings, pool).run.complete


def test_a_trace_that_was_not_written_whole_is_written_again(
    settings: Settings, pool: FakePool, versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    half: list[Any] = []

    def begun(settings: Settings, traces: Sequence[Trace]) -> None:
        # Killed between the trace and its span.
        half.append(trace_search.tracing_client(settings).start_trace(traces[0].info))
        raise StoreDown("The store has gone.")

    monkeypatch.setattr(answer_writer, "write_traces", begun)
    with pytest.raises(StoreDown):
        run(settings, pool, "phi3/1")
    monkeypatch.undo()

    found = run(settings, pool, "phi3/1")

    assert (found.run.complete, len(found.answers), len(half)) == (True, 3, 1)
    whole = [mlflow_client(settings).get_trace(one.trace_id) for one in found.answers]
    assert all(one.data.spans for one in whole)
    assert all(len({given.name for given in one.info.assessments}) == len(one.info.assessments) for one in whole)


def test_the_next_question_waits_for_no_writing_and_what_came_meanwhile_is_written_together(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []

    def slow(settings: Settings, traces: Sequence[Trace]) -> None:
        if not together:
            fakes.until(lambda: asked_of(engines) == 6)
        together.append(len(traces))
        turn_trace.write_traces(settings, traces)

    monkeypatch.setattr(answer_writer, "write_traces", slow)

    found = run(settings, pool)

    assert (found.run.complete, len(found.answers), sum(together)) == (True, 6, 6)
    assert max(together) > 1


def test_a_new_answer_costs_no_question_whether_it_is_there_and_the_result_is_read_once(
    settings: Settings, pool: FakePool, versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    read: list[str] = []
    monkeypatch.setattr(turn_trace, "_is_there", lambda _settings, id: looked.append(id))
    whole = results.read_evaluation
    monkeypatch.setattr(results, "read_evaluation", lambda *of: (read.append(of[1]), whole(*of))[1])

    found = run(settings, pool)

    assert found.run == results.search_evaluations(settings)[0]
    assert (looked, len(read), found.run.complete) == ([], 1, True)


def test_stopping_what_is_complete_leaves_it_complete(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    first = run(settings, pool, "phi3/1")
    cancel = Cancel()
    cancel.stop()

    assert run(settings, pool, "phi3/1", cancel=cancel).run == first.run
    assert first.run.complete


def test_two_programs_do_not_make_the_same_evaluation_at_once(
    settings: Settings, pool: FakePool, versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "key_of", lambda *of: "a" * 64)
    with FileLock(settings.locks / f"evaluation-{'a' * 16}.lock"), pytest.raises(Busy, match="under way already"):
        run(settings, pool)


def test_how_far_it_is_stands_in_its_run_and_any_app_server_can_stop_it(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.05)
    engines["phi3/1"].pause = engines["phi3/2"].pause = 0.3
    seen: list[results.EvaluationRun] = []

    def look(done: int, total: int) -> None:
        if done == 1:
            fakes.until(lambda: (one := results.search_evaluations(settings)[0].progress) is not None and one.done == 1)
            seen.extend(results.search_evaluations(settings))
            with pytest.raises(Forbidden, match="who started it"):
                jobs.stop_elsewhere(settings, seen[0], EVE)
            jobs.stop_elsewhere(settings, seen[0], Person("root", "admin"))

    stopped = run(settings, pool, report=look)

    (during,) = seen
    assert during.progress is not None
    assert (during.progress.done, during.progress.total, during.complete) == (1, 6, False)
    assert (stopped.run.complete, len(stopped.answers) < 6, stopped.run.progress) == (False, True, None)
    engines["phi3/1"].pause = engines["phi3/2"].pause = 0
    assert run(settings, pool).run.complete, "it is not stopped by what stopped the one before"


def test_who_goes_on_with_anothers_evaluation_can_stop_it_anywhere(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    found = run(settings, pool, "phi3/1", person=ADA)
    mlflow_client(settings).set_terminated(found.run.run_id, "KILLED")
    seen: list[results.EvaluationRun] = []

    def look(_done: int, _total: int) -> None:
        seen.append(results.read_run(settings, found.run.run_id))

    run(settings, pool, "phi3/1", person=EVE, report=look)

    assert (seen[0].by, seen[0].progress.by if seen[0].progress else "") == (ADA.name, EVE.name)
    jobs.stop_elsewhere(settings, seen[0], EVE)
    with pytest.raises(Forbidden, match=f"Only {EVE.name}"):
        jobs.stop_elsewhere(settings, seen[0], ADA)


def test_one_whose_process_has_ended_is_not_under_way_and_is_known_with_its_options(
    settings: Settings, pool: FakePool, versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(settings, pool, "phi3/1", options={"max_tokens": 5})
    store = mlflow_client(settings)
    store.update_run(found.run.run_id, status="RUNNING")  # as a killed process leaves it
    assert results.read_run(settings, found.run.run_id).progress is not None
    monkeypatch.setattr(pulse, "_SILENT", -1)

    left = results.read_run(settings, found.run.run_id)

    assert (left.progress, left.complete, dict(left.options)) == (None, False, {"max_tokens": 5})


@pytest.mark.parametrize("told", ["", "[]", "{}", '{"done": "many", "total": 1, "host": "x", "by": "x", "when": 1}'])
def test_what_others_wrote_as_its_progress_breaks_nothing(
    settings: Settings, pool: FakePool, versions: list[Version], told: str
) -> None:
    found = run(settings, pool, "phi3/1")
    mlflow_client(settings).set_tag(found.run.run_id, tags.PROGRESS, told)

    assert results.read_run(settings, found.run.run_id).progress is None


def test_one_that_another_machine_makes_is_not_made_here_too(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    found = run(settings, pool, "phi3/1")
    store = mlflow_client(settings)
    told = {"done": 1, "total": 3, "host": "another", "by": "ada", "when": now_ms()}
    store.set_tag(found.run.run_id, tags.PROGRESS, json.dumps(told))
    store.update_run(found.run.run_id, status="RUNNING")

    with pytest.raises(Busy, match="under way on another"):
        run(settings, pool, "phi3/1")

    store.set_tag(found.run.run_id, tags.PROGRESS, json.dumps(told | {"when": now_ms() - 120_000}))
    assert run(settings, pool, "phi3/1").run.complete
