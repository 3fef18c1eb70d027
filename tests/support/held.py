"""Requests that are held in their servers, and connections that hang up."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from phi3core.engine.interface import Done, End, Options, Piece, Prompt
from tests.support.fakes import FakeEngine
from tests.support.serving import CHAT
from tests.support.serving import http as web


class Held(FakeEngine):
    """Answers nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__(words=("well",))
        self.go = threading.Event()

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        while not self.go.wait(0.02):
            if stopped():
                return
            yield None
        yield from super().stream(prompt, options, stopped)


@contextmanager
def asking(url: str, count: int) -> Iterator[list[int]]:
    """So many requests in threads of their own; their statuses once they have ended."""
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(web.post(f"{url}/v1/chat/completions", json=CHAT, timeout=30).status_code)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield statuses
    for thread in threads:
        thread.join(20)


def load_of(url: str) -> tuple[int, int]:
    health = web.get(f"{url}/health").json()
    return health["running"], health["waiting"]


def send(url: str, body: dict[str, Any], path: str = "/v1/chat/completions") -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return connection


def hang_up(connection: http.client.HTTPConnection) -> None:
    assert connection.sock
    connection.sock.close()
