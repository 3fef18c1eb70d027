"""A version with a made-up engine, a conversation with it, and nothing that stays in memory afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phi3core import tags
from phi3core.chat.conversation import Conversation
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.app.servers import FakePool
from tests.chat.asking import WORDS
from tests.support import fakes
from tests.support.saved_turns import no_live_conversations, no_senders_stay, store  # noqa: F401  (fixtures)


@pytest.fixture
def engine() -> fakes.FakeEngine:
    return fakes.FakeEngine(WORDS)


@pytest.fixture
def pool(engine: fakes.FakeEngine) -> Iterator[FakePool]:
    pool = FakePool(lambda ref: engine)
    yield pool
    pool.close()


@pytest.fixture
def version(settings: Settings) -> Version:
    fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx"})
    return reader.get_version(settings, "phi3/1")


@pytest.fixture
def talk(settings: Settings, pool: FakePool) -> Conversation:
    return Conversation(settings, pool)  # type: ignore[arg-type]
