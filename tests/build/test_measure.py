"""Trying a model out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from phi3core.build import measure
from phi3core.build.measure import CpuTimes, other_load
from phi3core.errors import BadInput


def test_a_model_without_a_chat_template_is_tried_with_a_plain_prompt(
    tiny_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(tiny_onnx, tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()

    measure.main(str(folder), "onnx", "auto")

    told = json.loads(capsys.readouterr().out)
    assert told["first_token_ms"] > 0
    conditions = told["conditions"]
    assert conditions["cpu"]
    assert conditions["cores"] >= conditions["threads"] >= 1
    assert conditions["memory_bytes"] > 1e8


def test_a_template_that_raises_ends_the_trial_with_its_own_words(tiny_onnx: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_onnx, tmp_path / "raising")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('Nobody may ask') }}")

    with pytest.raises(BadInput, match="chat template does not accept these messages: Nobody may ask"):
        measure.main(str(folder), "onnx", "auto")


def test_the_load_is_what_others_took_of_all_cores() -> None:
    before = CpuTimes(total=100.0, busy=50.0, own=10.0)

    assert other_load(before, CpuTimes(102.0, 51.5, 11.0)) == pytest.approx(0.25)
    assert other_load(before, CpuTimes(102.0, 51.0, 11.0)) == 0
    assert other_load(before, CpuTimes(102.0, 51.0, 11.01)) == 0, "the system counts by hundredths"
    assert other_load(before, before) is None
