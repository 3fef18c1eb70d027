"""Versions with made-up engines, each with words of its own, and nothing that stays in memory afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.app.servers import FakePool
from tests.support import fakes
from tests.support.saved_turns import no_live_conversations, no_senders_stay  # noqa: F401  (fixture)


@pytest.fixture
def versions(settings: Settings) -> list[Version]:
    for _ in range(4):
        fakes.register(settings, "phi3")
    return [reader.get_version(settings, f"phi3/{number}") for number in range(1, 5)]


@pytest.fixture
def engines() -> dict[str, fakes.FakeEngine]:
    words = {"phi3/1": "Madrid it is.", "phi3/2": "It is Madrid.", "phi3/3": "Rome.", "phi3/4": "No idea."}
    return {ref: fakes.FakeEngine(tuple(f"{word} " for word in said.split(" "))) for ref, said in words.items()}


@pytest.fixture
def pool(engines: dict[str, fakes.FakeEngine]) -> Iterator[FakePool]:
    pool = FakePool(engines.__getitem__)
    yield pool
    pool.close()
