"""Folders that are no logged model, or a damaged one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phi3core.engine.loader import open_artifact
from phi3core.errors import SourceError
from tests.conftest import ROOT


def test_a_folder_without_a_model_file_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no logged model"):
        open_artifact(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["{ broken", "", "[]", "flavors: {}", "metadata: {phi3: {wrapper: other}}", "metadata: {phi3: {wrapper: onnx}}"],
)
def test_a_damaged_model_file_is_told_in_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "MLmodel").write_text(text)

    with pytest.raises(SourceError):
        open_artifact(tmp_path, code=True)


def test_weights_that_cant_be_loaded_do_not_take_their_process_along(tiny_onnx: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_onnx, tmp_path / "damaged")
    (folder / "model.onnx.data").write_bytes(b"damaged")
    code = (
        "import gc, sys\n"
        "from pathlib import Path\n"
        "from phi3core.engine.weights import open_weights\n"
        "from phi3core.errors import SourceError\n"
        "try:\n"
        "    open_weights(Path(sys.argv[1]), 'onnx')\n"
        "except SourceError as error:\n"
        "    print(error)\n"
        "gc.collect()\n"
        "print('alive')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=60, cwd=ROOT
    )

    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.splitlines()[-1] == "alive"
    assert "The model can't be loaded" in done.stdout
