"""Folders of prepared files: made once, whole or not at all, whatever happens on the way."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from phi3core import folder_cache
from phi3core.errors import SourceError


def _write(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "file").write_text(text) and None


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("hello")

    first, second = (folder_cache.get_or_make(tmp_path, "kind", "key", make) for _ in range(2))

    assert first == second == tmp_path / "kind" / "key"
    assert (first / "file").read_text() == "hello"
    assert len(made) == 1


def test_an_entry_that_fails_while_it_is_made_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise SourceError("broken")

    with pytest.raises(SourceError, match="broken"):
        folder_cache.get_or_make(tmp_path, "kind", "key", fail)

    assert [path for path in (tmp_path / "kind").iterdir() if path.is_dir()] == []


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        if (folder / "file").read_text() != "good":
            raise SourceError("damaged")

    folder = folder_cache.get_or_make(tmp_path, "kind", "key", _write("good"), check)
    (folder / "file").write_text("bad")

    folder_cache.get_or_make(tmp_path, "kind", "key", _write("good"), check)

    assert (folder / "file").read_text() == "good"


def test_what_a_killed_process_left_behind_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "kind" / "key.part-dead"
    leftover.mkdir(parents=True)
    (leftover / "file").write_text("half")

    folder_cache.get_or_make(tmp_path, "kind", "key", _write("whole"))

    assert not leftover.exists()


def _make_slowly(folder: str, log: str) -> None:
    def make(part: Path) -> None:
        with Path(log).open("a") as file:
            file.write("made\n")
        time.sleep(0.3)  # long enough for the others to want it too
        (part / "file").write_text("x")

    assert (folder_cache.get_or_make(Path(folder), "kind", "key", make) / "file").is_file()


def test_processes_that_want_the_same_entry_make_it_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [
        multiprocessing.get_context("fork").Process(target=_make_slowly, args=(str(tmp_path), str(log)))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)

    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert log.read_text() == "made\n"
