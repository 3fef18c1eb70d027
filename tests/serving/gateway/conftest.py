"""The app's /v1 as its clients see it: model servers with a made-up engine behind it, a real registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support import children
from tests.support.gateway import passing_on
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
