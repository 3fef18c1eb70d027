"""A disk that is full while building: a small one is mounted for it, which only root may do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3core.build import jobs
from phi3core.build.job import Job
from phi3core.build.spec import BuildSpec
from phi3core.errors import Phi3Error
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB, mounted."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", mount], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


def fill(disk: Path, leave: int = 0) -> None:
    """Fill the disk up to so many bytes."""
    with (disk / "ballast").open("wb") as file:
        file.write(b"\0" * max(shutil.disk_usage(disk).free - leave, 0))


@pytest.fixture
def on_small_disk(small_disk: Path, empty_store: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home on the small disk; the cache is elsewhere."""
    home = small_disk / "home"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    monkeypatch.setenv("PHI3_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return load_settings()


@pytest.fixture
def cache_on_small_disk(small_disk: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Only the cache is on the small disk, and full."""
    monkeypatch.setenv("PHI3_CACHE", str(small_disk / "cache"))
    (small_disk / "cache").mkdir()
    fill(small_disk, leave=100_000)
    return load_settings()


def ended(settings: Settings, spec: BuildSpec) -> Job:
    return list(jobs.follow(settings, jobs.start(settings, spec)))[-1]


@pytest.mark.model
def test_a_model_too_large_for_the_disk_is_told_before_it_is_copied(on_small_disk: Settings) -> None:
    job = ended(on_small_disk, BuildSpec("onnx"))

    assert job.status == "FAILED"
    assert "The disk is full" in job.reason
    assert "MB more. Free some space, then build again." in job.reason
    assert reader.list_models(on_small_disk) == []
    assert list(on_small_disk.tmp.iterdir()) == []


def test_a_disk_that_fills_while_converting_is_told(cache_on_small_disk: Settings, tiny: Path) -> None:
    job = ended(cache_on_small_disk, BuildSpec("onnx", str(tiny), "tiny"))

    assert job.status == "FAILED"
    assert "The disk is full" in job.reason
    assert str(cache_on_small_disk.cache) in job.reason  # the home is on another disk, which has room
    assert reader.list_models(cache_on_small_disk) == []
    assert [path for path in (cache_on_small_disk.cache / "onnx").iterdir() if path.is_dir()] == []


def test_a_build_on_a_disk_without_a_byte_left_is_refused_with_a_sentence(
    on_small_disk: Settings, small_disk: Path, tiny_onnx: Path
) -> None:
    reader.list_models(on_small_disk)
    fill(small_disk)

    with pytest.raises(Phi3Error, match="(?i)disk is full"):
        ended(on_small_disk, BuildSpec("onnx", str(tiny_onnx), "tiny"))

    (small_disk / "ballast").unlink()
    assert reader.list_models(on_small_disk) == []
    assert ended(on_small_disk, BuildSpec("onnx", str(tiny_onnx), "tiny")).status == "FINISHED"


def test_a_disk_that_has_room_for_the_build_is_no_obstacle(on_small_disk: Settings, tiny_onnx: Path) -> None:
    assert ended(on_small_disk, BuildSpec("onnx", str(tiny_onnx), "tiny")).ref == "tiny/1"
