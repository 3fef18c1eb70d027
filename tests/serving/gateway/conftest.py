"""The app's /v1 as its clients see it: model servers with a made-up engine behind it, a real registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from phi3core.access.api_keys import generate_key, hash_key
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support import children
from tests.support.gateway import passing_on
from tests.support.secrets import LOGIN
from tests.support.serving import client_of
from tests.support.thread_child import ThreadChild


@pytest.fixture
def pool(settings: Settings) -> Iterator[Pool]:
    opened = Pool(settings, start_child=ThreadChild, watch=False)
    yield opened
    opened.close()


@pytest.fixture
def url(settings: Settings, pool: Pool) -> Iterator[str]:
    with passing_on(settings, pool) as (address, _):
        yield address


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return client_of(url)


@pytest.fixture
def named(settings: Settings, tmp_path: Path) -> Callable[..., Version]:
    """A version of a model of that name whose child does what is said."""

    def make(name: str, **what: Any) -> Version:
        count = len(list(tmp_path.glob(f"{name}-*")))
        return children.register(settings, children.make(tmp_path / f"{name}-{count}", **what), name)

    return make


@pytest.fixture
def two(settings: Settings, pool: Pool) -> Iterator[tuple[openai.OpenAI, openai.OpenAI]]:
    """Two people's clients; the second may be an admin for all that it helps."""
    keys = {"ada@example.org": generate_key(), "vera@example.org": generate_key()}
    lines = "".join(f'{hash_key(key)} = "{email}"\n' for email, key in keys.items())
    settings.secrets.write_text(f'{LOGIN}[keys]\n{lines}[roles]\nadmin = ["vera@example.org"]\n')
    with passing_on(settings, pool) as (url, _):
        yield tuple(client_of(url, key) for key in keys.values())  # type: ignore[misc]
