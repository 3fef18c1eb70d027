"""The folders in which models write: removed by whoever made them, and by the next start where that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from phi3core.cell.own_folder import OwnFolder, own_folder, remove_left
from tests.support.children import ROOT

CODE = "from phi3core.cell.own_folder import OwnFolder; f = OwnFolder(); print(f.path, flush=True); input()"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def age(folder: str | Path, seconds: float = 3600) -> None:
    then = time.time() - seconds
    os.utime(folder, (then, then))


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_stays(temporary: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    other = subprocess.Popen(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout
    theirs = Path(other.stdout.readline().strip())
    (theirs / "model.bin").write_bytes(b"x")
    with own_folder() as ours:
        age(theirs)
        age(ours)
        remove_left()
        assert theirs.is_dir()
        assert Path(ours).is_dir()
        other.kill()
        other.communicate()
        remove_left()
        assert not theirs.exists()
        assert Path(ours).is_dir()
    assert not Path(ours).exists()


def test_nothing_else_is_removed(temporary: Path) -> None:
    mine = temporary / "mine"
    mine.mkdir()
    (mine / "kept").touch()
    (temporary / "phi3-cell-link").symlink_to(mine)
    (temporary / "phi3-cell-file").touch()
    (temporary / "phi3-cell-new").mkdir()
    for name in ("mine", "phi3-cell-file"):
        age(temporary / name)
    os.utime(temporary / "phi3-cell-link", (0, 0), follow_symlinks=False)
    remove_left()
    assert sorted(path.name for path in temporary.iterdir()) == [
        "mine", "phi3-cell-file", "phi3-cell-link", "phi3-cell-new",
    ]  # fmt: skip
    assert (mine / "kept").exists()


def test_a_folder_is_removed_once_and_is_its_users_alone() -> None:
    folder = OwnFolder()
    assert Path(folder.path).stat().st_mode & 0o777 == 0o700
    folder.remove()
    folder.remove()
    assert not Path(folder.path).exists()
