"""Trying a model out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from phi3core.build import measure


def test_a_model_without_a_chat_template_is_tried_with_a_plain_prompt(
    tiny_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(tiny_onnx, tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()

    measure.main(str(folder), "onnx", "auto")

    assert json.loads(capsys.readouterr().out)["first_token_ms"] > 0
