"""Versions whose model servers fail as a test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.support import children


@pytest.fixture
def named(settings: Settings, tmp_path: Path) -> Callable[..., Version]:
    """A version of a model of that name whose child does what is said."""

    def make(name: str, **what: Any) -> Version:
        return children.register(settings, children.make(tmp_path / name, **what))

    return make
