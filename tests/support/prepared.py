"""Stores that were made once and are copied: a few promotions take longer than most tests of what comes after them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from phi3core.settings import Settings


def once(folder: Path, empty_store: Path, make: Callable[[Settings], None]) -> Path:
    """A SQLite file in which `make` has been at work."""
    home = folder / "home"
    for part in (home, home / "locks"):
        part.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    make(Settings(home, f"sqlite:///{home / 'mlflow.db'}", home / "cache", secrets=home / "none"))
    return home / "mlflow.db"


def copied(store: Path, settings: Settings) -> Settings:
    """The settings, with a copy of it as their store. Nobody may have opened theirs before."""
    shutil.copy(store, settings.home / "mlflow.db")
    return settings
