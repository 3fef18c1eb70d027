"""A disk that is full while building: a small one is mounted for it, which only root may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core.build import jobs
from phi3core.build.job import Job
from phi3core.build.spec import BuildSpec
from phi3core.errors import Phi3Error
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings
from tests.faults.disk import fill


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
