"""A program that is run in a cell: it reads what it was given, and is told nothing of ours."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from phi3core.build import convert, measure
from phi3core.build.sources.source import Weights
from phi3core.cell import cell, environment, run


def pretty(file: Path, reads: Path, writes: Path) -> subprocess.CompletedProcess[str]:
    """Python's own json.tool, in a cell."""
    command = run.command(cell.Cell((reads,), writes), "json.tool", [str(file)])
    return subprocess.run(command, env=environment.allowed(str(writes)), capture_output=True, text=True)


@pytest.mark.skipif(bool(cell.why_none()), reason="there is no cell here")
def test_a_program_in_a_cell_reads_what_it_was_given_and_nothing_beside_it(tmp_path: Path) -> None:
    for name in ("given", "other", "own"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.json").write_text("[1]")

    inside = pretty(tmp_path / "given" / "file.json", tmp_path / "given", tmp_path / "own")
    outside = pretty(tmp_path / "other" / "file.json", tmp_path / "given", tmp_path / "own")

    assert (inside.returncode, inside.stdout.split()) == (0, ["[", "1", "]"])
    assert outside.returncode != 0
    assert "Permission denied" in outside.stderr


def test_without_a_cell_it_runs_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHI3_CELL", "off")
    (tmp_path / "file.json").write_text("[1]")

    assert cell.why_none() == "it is switched off (PHI3_CELL)"
    assert pretty(tmp_path / "file.json", tmp_path / "nothing", tmp_path).returncode == 0


def test_neither_the_converter_nor_the_trial_is_told_a_token(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments: list[dict[str, str]] = []

    class Ended(Exception):
        pass

    def started(*_: Any, env: dict[str, str], **__: Any) -> None:
        environments.append(env)
        raise Ended

    monkeypatch.setenv("HF_TOKEN", "token")
    monkeypatch.setenv("PHI3_RECORD_KEY", "key")
    monkeypatch.setattr(subprocess, "run", started)
    monkeypatch.setattr(subprocess, "Popen", started)
    with pytest.raises(Ended):
        measure.measure_model(tiny, "transformers")
    weights = Weights(tiny, "transformers", "here", "1", "mit", "abc")
    with pytest.raises(Ended):
        convert.convert_to_onnx(weights, "int4", tmp_path, tmp_path / "log", lambda *_: None)

    assert len(environments) == 2
    for found in environments:
        assert found["HF_HUB_OFFLINE"] == "1"
        assert not {"HF_TOKEN", "PHI3_RECORD_KEY", "PHI3_HOME"} & set(found)
