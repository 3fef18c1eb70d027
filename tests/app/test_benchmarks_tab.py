"""The tab with a version's benchmarks: what came of them, how they were made, and where one is begun."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pages.components.shared.escape import escape
from phi3core.evaluation.benchmarks import jobs, scores
from phi3core.evaluation.benchmarks.jobs import BenchmarkJob
from phi3core.evaluation.benchmarks.scores import Score, Value
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.app.conftest import Open
from tests.app.hostile import obeyed
from tests.app.registry import said
from tests.support import fakes

SCORE = Score(
    "hellaswag-100", "hellaswag", "acc_norm", {"acc": Value(0.31, 0.0465), "acc_norm": Value(0.4, None)}, 100,
    "lm-eval 0.4.13", "1.0", 1, "Rowan/hellaswag, 100 of 10,042; ![x](http://evil)", "ada",
    datetime(2026, 11, 28, tzinfo=UTC),
)  # fmt: skip


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[BenchmarkJob]:
    """The jobs of this test, none of which runs."""
    found: list[BenchmarkJob] = []

    def start(
        _: Settings, __: Any, ref: str, suite: str, limit: int | None, seed: int, hub: bool, person: Any
    ) -> BenchmarkJob:
        job = BenchmarkJob(ref, f"{suite} {limit} {seed} {hub}", person.name)
        job.share, job.text = 0.25, "95 of 380 requests answered"
        found.append(job)
        return job

    monkeypatch.setattr(jobs, "start", start)
    monkeypatch.setattr(jobs, "of_version", lambda _: list(found))
    return found


def test_the_scores_are_told_with_their_intervals_and_origin(open_page: Open, settings: Settings) -> None:
    fakes.register(settings, "phi3", metrics={"tokens_per_second": 100.0})
    version = reader.get_version(settings, "phi3/1")
    scores.record(settings, version, SCORE)
    scores.record(settings, version, replace(SCORE, label="hellaswag-20"))

    at = open_page("registry", model="phi3", version="1", tab="Benchmarks")

    assert not at.exception
    table = at.table[0].value
    assert list(table.index) == [escape("hellaswag-100")] * 2 + [escape("hellaswag-20")] * 2
    assert {"0.219 to 0.401", "not told"} == set(table["95 % interval"])
    assert obeyed(at) == []
    assert "By lm-eval 0.4.13, for ada." in said(at)


def test_one_is_begun_followed_and_stopped(open_page: Open, settings: Settings, begun: list[BenchmarkJob]) -> None:
    fakes.register(settings, "phi3", metrics={"tokens_per_second": 100.0})
    at = open_page("registry", model="phi3", version="1", tab="Benchmarks")
    at.selectbox(key="benchmark_suite").select("mmlu")
    at.number_input(key="benchmark_limit").set_value(20)
    at.run()
    assert "ten test questions of each of 57 subjects" in said(at)

    at.button(key="benchmark_start").click().run()

    assert [(job.ref, job.suite) for job in begun] == [("phi3/1", "mmlu 20 1 False")]
    at.button(key=f"benchmark_stop_{begun[0].id}").click().run()
    assert begun[0]._cancel.is_set()
