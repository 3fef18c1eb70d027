"""A store with records."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core.promotion.promote import promote
from phi3core.settings import Settings
from tests.promotion.record.helpers import ADA
from tests.support import prepared
from tests.support.fakes import register


@pytest.fixture(scope="session")
def three_once(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    def make(settings: Settings) -> None:
        for number in (1, 2, 3):
            register(settings)
            promote(settings, f"phi3/{number}", "Production", f"reason {number}", ADA)

    return prepared.once(tmp_path_factory.mktemp("three"), empty_store, make)


@pytest.fixture
def three(three_once: Path, settings: Settings) -> Settings:
    """A store with phi3/1, phi3/2 and phi3/3, and three promotions to Production in that order."""
    return prepared.copied(three_once, settings)
