"""Model servers for tests: the real ASGI app under uvicorn in a thread, on any engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import uvicorn

from phi3core.engine.interface import Engine
from phi3core.serving.child.app import bind_socket, create_app
from tests.support.fakes import until

HELLO: list[Any] = [{"role": "user", "content": "Where?"}]
CHAT = {"messages": HELLO}

# A client for each request would read the certificates anew each time, which takes longer than most tests.
http = httpx.Client(verify=False, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


@contextmanager
def serving(
    load: Callable[[], Engine],
    names: tuple[str, ...] = ("fake/1",),
    key: str | None = None,
    local: bool = True,
    parallel: int = 8,
    queue: int = 32,
    on_hung: Callable[[], object] | None = None,
    strict: bool = False,
) -> Iterator[str]:
    """The server's address, without /v1; it may still be loading."""
    sock = bind_socket("127.0.0.1", 0)
    app = create_app(load, list(names), key, local, parallel, queue, on_hung, strict)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        until(lambda: server.started)
        yield url
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()


def wait_loaded(url: str) -> None:
    # PyTorch and a real model take minutes on a machine that is busy with others.
    until(lambda: http.get(f"{url}/health").json()["status"] != "loading", 300)


def client_of(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def streamed(url: str, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks of a stream as they are written."""
    answer = http.post(f"{url}/v1/{path}", json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]
