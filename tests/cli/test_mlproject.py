"""The MLproject file: its entry points run under “mlflow run” as they are documented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.support.shared import ROOT

pytestmark = pytest.mark.model


def mlflow_run(settings: Settings, entry: str, **params: str) -> subprocess.CompletedProcess[str]:
    folder = Path(sys.executable).parent
    given = [part for name, value in params.items() for part in ("-P", f"{name}={value}")]
    return subprocess.run(
        [str(folder / "mlflow"), "run", ".", "--env-manager", "local", "-e", entry, *given],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=550,
    )


def test_mlflow_run_builds_a_version_and_answers_a_batch_with_it(
    settings: Settings, tiny_onnx: Path, tmp_path: Path
) -> None:
    source = str(tiny_onnx)
    built = mlflow_run(settings, "build", wrapper="onnx", source=source, name="by-project")
    assert built.returncode == 0, built.stdout + built.stderr
    (version,) = reader.list_versions(settings, "by-project")
    assert (version.version, version.wrapper, version.tags[tags.SOURCE]) == (1, "onnx", source)
    parent = mlflow_client(settings).get_run(version.run_id).data.tags["mlflow.parentRunId"]
    assert mlflow_client(settings).get_run(parent).data.tags["mlflow.project.entryPoint"] == "build"

    (tmp_path / "prompts.txt").write_text("What is the capital of Spain?\nSay hello.\n")
    output = tmp_path / "answers.jsonl"
    answered = mlflow_run(settings, "batch", ref="by-project/1", file=str(tmp_path / "prompts.txt"), output=str(output))
    assert answered.returncode == 0, answered.stdout + answered.stderr
    turns = [json.loads(line) for line in output.read_text().splitlines()]
    assert [turn["question"] for turn in turns] == ["What is the capital of Spain?", "Say hello."]
    assert all(turn["answer"] and turn["ref"] == "by-project/1" for turn in turns)


def test_mlflow_run_of_what_cannot_be_built_fails_with_its_sentence(settings: Settings, tmp_path: Path) -> None:
    run = mlflow_run(settings, "build", wrapper="onnx", source=str(tmp_path / "nothing"), name="never")
    assert run.returncode != 0
    assert str(tmp_path / "nothing") in run.stdout + run.stderr
    assert reader.list_models(settings) == []
