"""Clients that hang up or do not read: the model stops, and no other client waits."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from phi3core.registry.models import Version
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support.fakes import until
from tests.support.gateway import passing_on
from tests.support.serving import HELLO, client_of
from tests.support.thread_child import ThreadChild


@pytest.fixture
def pool(settings: Settings) -> Iterator[Pool]:
    opened = Pool(settings, start_child=ThreadChild, watch=False)
    yield opened
    opened.close()


@pytest.mark.parametrize("streamed", [True, False], ids=["a stream", "one piece"])
def test_a_client_that_hangs_up_stops_the_model(
    settings: Settings, pool: Pool, named: Callable[..., Version], tmp_path: Path, streamed: bool
) -> None:
    version = named("talker", words=2000, pause=0.02)
    pool.open(version).wait_ready(60)
    with passing_on(settings, pool) as (url, _):
        body = {"model": "talker/1", "messages": HELLO, "stream": streamed, "max_tokens": 2000}
        with _request(url, body) as sock:
            if streamed:
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            until(lambda: is_busy(pool.running()[0]))

        until((tmp_path / "talker" / "ended").exists)

        assert int((tmp_path / "talker" / "ended").read_text()) < 500
        until(lambda: not is_busy(pool.running()[0]), 5)
        until(lambda: not pool.running()[0].held, 5)


def test_a_client_that_hangs_up_while_the_version_loads_asks_it_nothing(
    settings: Settings, pool: Pool, named: Callable[..., Version], tmp_path: Path
) -> None:
    named("held", hold=True, words=2000, pause=0.02)
    with passing_on(settings, pool) as (url, _):
        with _request(url, {"model": "held/1", "messages": HELLO, "max_tokens": 2000}):
            until(lambda: pool.running() and pool.running()[0].held)
            until(lambda: pool.running()[0].status().state == "loading")
            assert pool.running()[0].held
        until(lambda: not pool.running()[0].held, 5)

        (tmp_path / "held" / "go").touch()
        (server,) = pool.running()
        server.wait_ready(20)

        time.sleep(0.2)
        assert server.status().state == "ready"
        assert not (tmp_path / "held" / "ended").exists()


def test_a_client_that_does_not_read_holds_up_nobody(
    settings: Settings, pool: Pool, named: Callable[..., Version]
) -> None:
    named("talker", words=20)
    with passing_on(settings, pool) as (url, _):
        body = {"model": "talker/1", "messages": HELLO, "stream": True}
        with _request(url, body), _request(url, body):
            answer = client_of(url).chat.completions.create(model="talker/1", messages=HELLO)

    assert answer.choices[0].message.content.startswith(" 0 1")  # type: ignore[union-attr]


def is_busy(server: ModelServer) -> bool:
    server.check_health(5)
    return server.active_requests > 0


def _request(url: str, body: dict[str, Any]) -> socket.socket:
    """A connection on which a chat was asked for and nothing was read."""
    host, port = url.removeprefix("http://").split(":")
    text = json.dumps(body).encode()
    sock = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    sock.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
    return sock
