"""EleutherAI's harness itself, by its own command line, against the model servers of the embedded model.

``make test-lm-eval``: it takes an environment of 670 MB and minutes, so that `make test` only replays its requests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from phi3core.evaluation.benchmarks.benchmark import run_benchmark
from phi3core.serving.pool import Pool
from tests.conftest import MODEL, Built

pytestmark = [
    pytest.mark.harness,
    pytest.mark.model,
    pytest.mark.skipif(not os.environ.get("PHI3_LM_EVAL"), reason="the harness is run by make test-lm-eval"),
]


@pytest.fixture(scope="module")
def pool(built_once: Built) -> Iterator[Pool]:
    pool = Pool(built_once.settings)
    yield pool
    pool.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", [1, 2])
def test_it_scores_likelihoods(built_once: Built, pool: Pool, version: int) -> None:
    score = run_benchmark(built_once.settings, pool, f"{MODEL}/{version}", "hellaswag", limit=5)

    assert (score.label, score.items, score.task_version) == ("hellaswag-5", 5, "1.0")
    assert 0 <= score.main.value <= 1
    assert score.main.error is not None


@pytest.mark.timeout(1800)
def test_it_scores_written_answers(built_once: Built, pool: Pool) -> None:
    score = run_benchmark(built_once.settings, pool, f"{MODEL}/2", "ifeval", limit=2)

    assert (score.label, score.items) == ("ifeval-2", 2)
    assert {"prompt_level_strict_acc", "inst_level_loose_acc"} <= score.metrics.keys()
