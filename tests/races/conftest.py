"""The stores that are raced on: all three with ``PHI3_RACES=100``, else SQLite, and a few on each (test_sample.py)."""

from __future__ import annotations

import os

import pytest

from phi3core.settings import Settings, load_settings
from tests.support.stores import STORES

SHARE = int(os.environ.get("PHI3_RACES") or 0)
"""How many of the races in a hundred are to be run on every store; 0 for those of the ordinary tests."""
ALL = SHARE > 0


@pytest.fixture(params=STORES if ALL else STORES[:1])
def everywhere(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose store is each of them in turn."""
    if request.param == "sqlite":
        return settings
    monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue(f"{request.param}_server"))
    return load_settings()
