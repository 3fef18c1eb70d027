"""Model servers on made-up engines: started once for all tests that leave them as they were."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.support.choir import Choir
from tests.support.fakes import FakeEngine, until
from tests.support.serving import client_of, http, serving, wait_loaded

Served = tuple[FakeEngine, str]


@pytest.fixture(scope="session")
def fake_served() -> Iterator[Served]:
    engine = FakeEngine()
    with serving(lambda: engine, ("fake/1", "fake@champion")) as address:
        wait_loaded(address)
        yield engine, address


@pytest.fixture(scope="session")
def choir_served() -> Iterator[Served]:
    engine = Choir()
    with serving(lambda: engine) as address:
        wait_loaded(address)
        yield engine, address


def as_new(served: Served) -> FakeEngine:
    """The engine, as if nothing had been asked or changed yet."""
    engine, address = served
    until(lambda: (health := http.get(f"{address}/health").json())["running"] + health["waiting"] == 0)
    engine.__dict__.clear()
    engine.__dict__.update(type(engine)().__dict__)
    return engine


@pytest.fixture
def engine(fake_served: Served) -> FakeEngine:
    return as_new(fake_served)


@pytest.fixture
def url(fake_served: Served, engine: FakeEngine) -> str:
    return fake_served[1]


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return client_of(url)


@pytest.fixture
def choir(choir_served: Served) -> FakeEngine:
    return as_new(choir_served)


@pytest.fixture
def choir_url(choir_served: Served, choir: FakeEngine) -> str:
    return choir_served[1]


@pytest.fixture
def choir_client(choir_url: str) -> openai.OpenAI:
    return client_of(choir_url)
