"""Versions whose model servers fail as a test says, and a small disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from phi3core.registry.models import Version
from phi3core.settings import Settings, load_settings
from tests.support import children


@pytest.fixture
def named(settings: Settings, tmp_path: Path) -> Callable[..., Version]:
    """A version of a model of that name whose child does what is said."""

    def make(name: str, **what: Any) -> Version:
        return children.register(settings, children.make(tmp_path / name, **what))

    return make


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


@pytest.fixture
def on_small_disk(small_disk: Path, empty_store: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home on the small disk; the cache is elsewhere."""
    home = small_disk / "home"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    monkeypatch.setenv("PHI3_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return load_settings()
