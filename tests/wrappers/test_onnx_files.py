"""What the ONNX wrapper logs: its code, its artifact, its requirements."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, Built
from tests.support.asking import folder_of
from tests.support.environments import make_environment
from tests.wrappers.requests import CHATML

pytestmark = pytest.mark.model


@pytest.mark.parametrize("number", [2, 3])
def test_the_logged_onnx_model_holds_no_pickle_and_nothing_of_this_project(built: Built, number: int) -> None:
    files = [path for path in folder_of(built, number).rglob("*") if path.is_file()]

    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".bin", ".pt")]
    small = [path for path in files if path.stat().st_size < 1_000_000]
    texts = {path.name: path.read_text(errors="replace") for path in small}
    assert {"MLmodel", "onnx_model.py", "requirements.txt", "genai_config.json"} <= texts.keys()
    for name, text in texts.items():
        assert "phi3core" not in text, name
        assert str(ROOT) not in text, name
        assert str(built.settings.cache) not in text, name


def test_the_logged_code_is_the_template_as_it_is(built: Built) -> None:
    template = ROOT / "phi3core" / "wrappers" / "onnx_model.py"

    (logged,) = folder_of(built, 2).rglob("onnx_model.py")

    assert logged.read_text() == template.read_text()


def test_the_weights_are_the_artifact_phi3_mini_onnx(built: Built) -> None:
    (weights,) = folder_of(built, 2).rglob("genai_config.json")

    assert weights.parent.name == "phi3-mini-onnx"


def test_the_requirements_are_pinned_and_few(built: Built) -> None:
    lines = (folder_of(built, 2) / "requirements.txt").read_text().split()

    assert [line.partition("==")[0] for line in lines] == ["mlflow", "onnxruntime-genai", "numpy"]
    assert all("==" in line for line in lines)


def test_a_registered_onnx_version_answers_where_only_its_own_requirements_are(built: Built, tmp_path: Path) -> None:
    folder = folder_of(built, 2)
    python = make_environment(tmp_path / "venv", (folder / "requirements.txt").read_text().split())
    moved = shutil.copytree(folder, tmp_path / "elsewhere", copy_function=os.link)
    code = (
        "import sys, mlflow\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(model.predict({'prompt': sys.argv[2]}, params={'temperature': 0.0, 'max_tokens': 12})[0])\n"
        "from importlib.util import find_spec\n"
        "print([name for name in ('phi3core', 'torch', 'transformers') if find_spec(name)])"
    )

    done = subprocess.run(
        [python, "-I", "-c", code, str(moved), CHATML],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    *answer, others = done.stdout.strip().splitlines()
    assert "Madrid" in "\n".join(answer)
    assert others == "[]"
