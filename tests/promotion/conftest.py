"""Registered models in the states that promotions are tested on."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core.promotion.policy import requests
from phi3core.promotion.promote import promote
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.promotion import helpers
from tests.support import prepared
from tests.support.fakes import register
from tests.support.judging import ADA, version_with_files


@pytest.fixture(scope="session")
def two_once(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    def make(settings: Settings) -> None:
        for _ in range(3):
            register(settings)
        for number in (1, 2):
            promote(settings, f"phi3/{number}", "Production", person=helpers.ADA)

    return prepared.once(tmp_path_factory.mktemp("two"), empty_store, make)


@pytest.fixture
def two(two_once: Path, settings: Settings) -> Settings:
    """phi3/1 archived, phi3/2 in Production, phi3/3 in none."""
    return prepared.copied(two_once, settings)


@pytest.fixture
def three(settings: Settings) -> Settings:
    """A store with phi3/1, phi3/2 and phi3/3, none of them promoted."""
    for _ in range(3):
        register(settings)
    return settings


@pytest.fixture
def version(settings: Settings, tmp_path: Path) -> Version:
    return version_with_files(settings, tmp_path)


@pytest.fixture
def asked(settings: Settings, version: Version) -> str:
    return requests.ask(settings, version.ref, "Production", "It is faster.", ADA).id
