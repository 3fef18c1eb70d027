"""The disk that a process takes is counted, also where it is hidden."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from phi3core.serving import disk


def test_the_files_in_a_folder_and_below_are_counted(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    before = disk.used(str(tmp_path), os.getpid())
    for name in ("one", "below/two"):
        (tmp_path / name).write_bytes(b"x" * 50_000)

    assert 100_000 <= disk.used(str(tmp_path), os.getpid()) - before < 150_000


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells the open files of another process")
def test_a_file_that_was_deleted_and_is_open_is_counted_once(tmp_path: Path) -> None:
    before = disk.used(str(tmp_path), os.getpid())
    with (tmp_path / "hidden").open("wb") as file, (tmp_path / "hidden").open("rb"):
        file.write(b"x" * 50_000)
        file.flush()
        (tmp_path / "hidden").unlink()

        assert disk.used(str(tmp_path), os.getpid()) - before == 50_000


def test_more_names_than_are_counted_and_a_path_that_is_too_long_are_over_every_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "NAMES", 500)
    (tmp_path / "many").mkdir()
    for number in range(501):
        (tmp_path / "many" / str(number)).touch()
    assert disk.used(str(tmp_path / "many"), 0) == math.inf

    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    for _ in range(20):
        os.mkdir("n" * 250)
        os.chdir("n" * 250)
    assert disk.used(str(tmp_path / "deep"), 0) == math.inf
