"""A version held against the weights it came from, or against another one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from phi3core import tags
from phi3core.build import jobs
from phi3core.build.parity import comparing, models, parity, reading, results, texts
from phi3core.build.parity.results import REPORT, Report
from phi3core.build.steps import STEPS, Progress
from phi3core.engine.weights import open_runtime
from phi3core.errors import BadInput, Forbidden, StoreError
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.support import fakes

Compare = Callable[[Path, str, Path, str], Report]


@pytest.fixture
def compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Both parts in this process: the compared model and its kind, then the base and its kind."""

    def compare_(folder: Path, kind: str, base: Path, base_kind: str) -> Report:
        reading.main(folder, kind, folder, tmp_path)
        comparing.main(base, base_kind, base, tmp_path)
        return REPORT.validate_python(json.loads(capsys.readouterr().out.splitlines()[-1])["report"])

    return compare_


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the texts, and short answers: what is said of them does not depend on how long they are."""
    monkeypatch.setattr(texts, "_TOKENS", 100)
    monkeypatch.setattr(reading, "_ANSWER", 8)


def rounded(tiny: Path, folder: Path, step: float) -> Path:
    """The tiny model with its weights rounded to multiples of a step."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny, folder)
    weights = load_file(folder / "model.safetensors")
    coarser = {name: (weight / step).round() * step for name, weight in weights.items()}
    save_file(coarser, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_an_unrounded_conversion_is_its_source_and_more_rounding_is_further_away(
    compare: Compare, tiny: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    exact = compare(tiny_onnx, "onnx", tiny, "source")
    fine, coarse = (
        compare(rounded(tiny, tmp_path / str(step), step), "transformers", tiny, "source") for step in (0.02, 0.06)
    )

    assert exact.figures.kl.value < 1e-6
    assert exact.figures.same_top.value == 1
    assert exact.figures.ratio.value == pytest.approx(1, abs=1e-5)
    assert exact.same_answers == len(exact.answers) > 0
    assert 1e-5 < fine.figures.kl.value < coarse.figures.kl.value
    assert coarse.figures.same_top.value < 1
    assert list(exact.kinds) == [*texts.KINDS, texts.TEMPLATE]
    assert sum(found.tokens for found in exact.kinds.values()) == exact.figures.tokens == len(exact.kl["prose"]) * 5


def test_where_answers_part_is_where_the_base_would_answer_otherwise(
    compare: Compare, tiny: Path, tmp_path: Path
) -> None:
    other = rounded(tiny, tmp_path / "other", 0.06)

    found = compare(other, "transformers", tiny, "source").answers

    runtimes = [open_runtime(folder, "transformers") for folder in (tiny, other)]
    asked = [reading.ask(runtimes[0], answer.prompt) for answer in found]
    told, instead = (models.answer_greedily(runtime, asked, 8, lambda share: None) for runtime in runtimes)
    parted = [
        next((at for at, pair in enumerate(zip(*both, strict=False)) if pair[0] != pair[1]), None)
        for both in zip(told, instead, strict=True)
    ]
    assert [answer.parted for answer in found] == parted
    assert any(at is not None for at in parted)


def test_answers_that_are_computed_together_are_those_of_one_after_the_other(tiny: Path, tiny_onnx: Path) -> None:
    for folder, kind in ((tiny, "transformers"), (tiny_onnx, "onnx")):
        runtime = open_runtime(folder, kind)
        prompts = [runtime.encode(text) for text in ("Hello", "The sea is", "a")]

        together = models.answer_greedily(runtime, prompts, 8, lambda share: None)

        assert together == [models.answer_greedily(runtime, [one], 8, lambda share: None)[0] for one in prompts]


def test_half_precision_weights_are_computed_in_float32_and_held_as_they_are(tiny: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    half: Any = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16)
    folder = shutil.copytree(tiny, tmp_path / "half")
    half.save_pretrained(folder)
    exact: Any = models.open_exact(folder)
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        expected = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(input_ids=ids).logits
        found = exact.model(input_ids=ids).logits

    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-5)
    assert exact.model.lm_head.weight.dtype == torch.bfloat16


def test_models_with_other_tokens_are_not_compared() -> None:
    passage = texts.Passage("prose", np.array([1, 2, 3]))

    with pytest.raises(BadInput, match="cut the same text into different tokens"):
        comparing.check_tokens([passage], reading.Reading(["prose"], [[1, 2, 4]], 8, []))


def test_a_template_that_takes_no_conversation_leaves_its_text_out() -> None:
    def refuse(_: object) -> str:
        raise BadInput("no")

    passages = texts.read_passages(lambda text: np.arange(len(text)), refuse, 64)

    assert {passage.kind for passage in passages} == set(texts.KINDS)
    assert all(1 < len(passage.tokens) <= 64 for passage in passages)


# ---------------------------------------------------------------- the job


@pytest.fixture
def two(settings: Settings, tiny_onnx: Path, tmp_path: Path) -> Settings:
    """tiny/1 and tiny/2: the same ONNX weights, as our wrapper logs them."""
    logged = tmp_path / "logged"
    shutil.copytree(tiny_onnx, logged / "artifacts" / "phi3-mini-onnx")
    (logged / "MLmodel").write_text(
        "flavors: {python_function: {artifacts: {phi3-mini-onnx: {path: artifacts/phi3-mini-onnx}}}}\n"
        "metadata: {phi3: {wrapper: onnx}}\n"
    )
    known = {tags.WRAPPER: "onnx", tags.PRECISION: "fp32", tags.SOURCE: str(tiny_onnx), tags.REVISION: "0"}
    for _ in range(2):
        fakes.register(settings, "tiny", logged.as_uri(), known, {tags.TOKENS_PER_SECOND: 1.0})
    return settings


def test_two_versions_are_read_in_processes_of_their_own_and_the_result_is_kept(two: Settings) -> None:
    run_id = mlflow_client(two).create_run("0").info.run_id
    told: list[Progress] = []

    parity.run_parity(two, run_id, "tiny/2", "tiny/1", told.append)

    (found,) = results.read_results(two, reader.get_version(two, "tiny/2"))
    assert (found.ref, found.base, found.base_says) == ("tiny/2", "tiny/1", "tiny/1, fp32")
    assert (found.report.figures.kl.value, found.report.figures.same_top.value) == (0, 1)
    assert [one.step for one in told if one.seconds is not None] == list(STEPS["parity"])
    assert results.read_results(two, reader.get_version(two, "tiny/1")) == []
    assert tags.PARITY_KL not in reader.get_version(two, "tiny/2").metrics, "they are for its source alone"
    assert list(two.tmp.iterdir()) == []


def test_against_its_source_the_figures_are_metrics_of_the_version(
    two: Settings, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from phi3core.build.parity.statistics import Rows

    report = comparing.make_report(["prose"], [Rows(*(np.array([0.1, 0.3]) for _ in range(4)))], [])
    lines = {"reading": "", "comparing": json.dumps({"report": REPORT.dump_python(report, mode="json")})}
    monkeypatch.setattr(parity, "_run", lambda part, *_: lines[part])
    monkeypatch.setattr(parity, "fetch_again", lambda *_: parity.Weights(tiny, "transformers", "tiny", "0", "mit", "0"))

    for _ in range(2):
        parity.run_parity(two, mlflow_client(two).create_run("0").info.run_id, "tiny/1", "", lambda _: None)

    version = reader.get_version(two, "tiny/1")
    assert version.metrics[tags.PARITY_KL] == pytest.approx(0.2)
    assert [step for step, _, _ in reader.list_measurements(two, version.run_id, tags.PARITY_KL)] == [0, 1]
    (found,) = results.read_results(two, version)
    assert (found.base, found.base_says) == (results.SOURCE, "tiny, in float32")


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda at: (at / "genai_config.json").write_text('{"custom_ops_library": "evil.so"}'), Forbidden, "code"),
        (lambda at: (at / "more").symlink_to("/etc/passwd"), StoreError, "is a link out of tiny/2's folder"),
        (lambda at: _name_weights(at, "/etc"), StoreError, "are said to be outside of its folder"),
    ],
)
def test_a_version_that_is_more_than_weights_in_its_folder_is_not_opened(
    two: Settings, tmp_path: Path, spoil: Callable[[Path], object], error: type[Exception], words: str
) -> None:
    spoil(tmp_path / "logged" / "artifacts" / "phi3-mini-onnx")

    with pytest.raises(error, match=words):
        parity.run_parity(two, mlflow_client(two).create_run("0").info.run_id, "tiny/2", "tiny/1", lambda _: None)


def _name_weights(at: Path, where: str) -> None:
    mlmodel = at.parents[1] / "MLmodel"
    mlmodel.write_text(mlmodel.read_text().replace("path: artifacts/phi3-mini-onnx", f"path: {where}"))


def test_a_source_that_has_changed_since_is_no_base(two: Settings, tiny: Path) -> None:
    name = {tags.WRAPPER: "onnx", tags.SOURCE: str(tiny), tags.REVISION: "another"}
    fakes.register(two, "tiny", tags=name, metrics={tags.TOKENS_PER_SECOND: 1.0})

    with pytest.raises(BadInput, match="no longer what tiny/3 was built from"):
        parity.fetch_again(two, reader.get_version(two, "tiny/3"), lambda *_: None)


def test_what_cant_be_compared_is_refused_with_a_sentence_and_starts_nothing(two: Settings) -> None:
    published = {tags.WRAPPER: "onnx", tags.SOURCE: "hf:a/b", tags.PRECISION: "as published"}
    fakes.register(two, "tiny", tags=published, metrics={tags.TOKENS_PER_SECOND: 1.0})
    for base, ref, words in (
        ("", "tiny/3", "was published as ONNX"),
        ("tiny/1", "tiny/1", "Both are tiny/1"),
        ("endpoint:azure", "tiny/1", "runs on another machine"),
    ):
        with pytest.raises(BadInput, match=words):
            jobs.start_parity(two, ref, base)

    assert jobs.list_recent(two) == []


def test_without_room_for_the_logits_nothing_is_compared(
    compare: Compare, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))

    with pytest.raises(BadInput, match=r"The disk is full: .* and comparing needs \d+ MB for a while"):
        compare(tiny_onnx, "onnx", tiny_onnx, "onnx")

    assert list(tmp_path.iterdir()) == []
