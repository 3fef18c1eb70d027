"""A pool of children that are no processes, and a clock that it is told: what its timers do takes no time here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool, PoolTimeouts
from phi3core.settings import Settings
from tests.support.clock import ManualClock
from tests.support.fake_child import Children


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def started() -> Children:
    """The children that the pool has started."""
    return Children()


@pytest.fixture
def make_pool(
    tmp_path: Path, clock: ManualClock, started: Children, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Pool]:
    """A pool without a thread: a test calls `tend` where a round is due. timeouts: those that are not the default."""
    monkeypatch.setattr(artifacts, "local_folder", lambda _, version: Path(unquote(urlsplit(version.source).path)))
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)

    def make(idle_minutes: float = 30, available: Callable[[], int] = lambda: 10**12, **options: Any) -> Pool:
        timeouts = PoolTimeouts(**{"grace": 0.0, **options.pop("timeouts", {})})
        settings = Settings(home, "sqlite://", home / "cache", idle_minutes=idle_minutes, secrets=home / "none")
        options = {"available": available, "start_child": started.start, "clock": clock, "watch": False, **options}
        return Pool(settings, timeouts=timeouts, **options)

    return make


@pytest.fixture
def pool(make_pool: Callable[..., Pool]) -> Pool:
    return make_pool()


@pytest.fixture
def named(tmp_path: Path) -> Callable[..., Version]:
    """A version of a model of that name, with files of so many bytes. folder: where they are, if not under its name."""

    def make(name: str, size: int = 0, number: int = 1, folder: str = "") -> Version:
        files = tmp_path / (folder or f"{name}-{number}")
        files.mkdir(exist_ok=True)
        (files / "MLmodel").write_text("")
        with (files / "weights").open("wb") as file:
            file.truncate(size)
        made = datetime.now(UTC)
        return Version(name, number, "None", (), "", {}, made, "", files.as_uri(), "READY", {})

    return make
