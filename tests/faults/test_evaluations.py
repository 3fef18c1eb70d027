"""An evaluation whose process is killed, and one whose version is deleted meanwhile: nothing twice, nothing missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.evaluation import prompt_sets, pulse, results
from phi3core.evaluation.evaluate import evaluate
from phi3core.evaluation.results import Evaluation
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.app.servers import FakePool
from tests.evaluation.sets import item
from tests.support import fakes

ROOT = Path(__file__).resolve().parent.parent.parent
ITEMS = [item(f"i{number}", f"Question {number}?", contains=["Madrid"]) for number in range(8)]

_CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from phi3core.evaluation.evaluate import evaluate
from phi3core.settings import load_settings
from tests.app.servers import FakePool
from tests.support.fakes import FakeEngine
evaluate(load_settings(), FakePool(lambda ref: FakeEngine(pause=0.1)), "eight", ["phi3/1"])
"""


@pytest.fixture
def pool(settings: Settings) -> Iterator[FakePool]:
    fakes.register(settings, "phi3")
    prompt_sets.save_set(settings, "eight", ITEMS)
    pool = FakePool()
    yield pool
    pool.close()


def finished(settings: Settings, pool: FakePool) -> Evaluation:
    return evaluate(replace(settings, parallel=1), pool, "eight", ["phi3/1"])  # type: ignore[arg-type]


def kept(settings: Settings) -> list[str]:
    """The items of the answers that are in the store, counted there."""
    home = experiment_id(settings, tags.EVALUATIONS)
    found = mlflow_client(settings).search_traces(locations=[home], include_spans=False)
    return sorted(trace.info.trace_metadata[tags.ITEM] for trace in found)


def test_a_killed_process_leaves_an_evaluation_that_goes_on(
    settings: Settings, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "PHI3_PARALLEL": "1"}
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(ROOT)], cwd=ROOT, env=environment)
    try:
        fakes.until(lambda: len(kept(settings)) >= 2, 60)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    before = kept(settings)
    monkeypatch.setattr(pulse, "_SILENT", -1)  # a minute later
    (broken,) = results.search_evaluations(settings)
    assert (broken.complete, broken.progress, 2 <= len(before) < 8) == (False, None, True)

    found = finished(settings, pool)

    assert (found.run.run_id, found.run.complete) == (broken.run_id, True)
    assert kept(settings) == [one.id for one in ITEMS]
    assert all(mlflow_client(settings).get_trace(one.trace_id).data.spans for one in found.answers)


def test_a_version_that_is_deleted_meanwhile_is_answered_by_what_is_open(settings: Settings, pool: FakePool) -> None:
    def delete(done: int, _total: int) -> None:
        if done == 3:
            mlflow_client(settings).delete_model_version("phi3", "1")

    found = evaluate(replace(settings, parallel=1), pool, "eight", ["phi3/1"], report=delete)  # type: ignore[arg-type]

    assert (found.run.complete, kept(settings)) == (True, [one.id for one in ITEMS])
