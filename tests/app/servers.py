"""Model servers that answer from this process: the real ASGI app, a made-up engine, no child process."""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import uvicorn

from phi3core.engine.interface import Done, End, Options, Piece, Prompt, Token
from phi3core.errors import BadInput
from phi3core.registry.models import Version
from phi3core.serving.child.app import bind_socket, create_app
from phi3core.serving.handle import Status
from tests.support.fakes import FakeEngine, until

Engines = Callable[[str], FakeEngine]


class HeldEngine(FakeEngine):
    """Says its first words and waits there until `go` is set, or until it is told to stop."""

    def __init__(self, words: tuple[str, ...], hold_at: int) -> None:
        super().__init__(words)
        self.hold_at = hold_at
        self.go, self.holding = threading.Event(), threading.Event()

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        self._hold(0, stopped)
        for item in super().stream(prompt, options, stopped):
            yield item
            self._hold(self.said, stopped)

    def _hold(self, said: int, stopped: Callable[[], bool]) -> None:
        while said == self.hold_at and not stopped() and not self.go.wait(0.01):
            self.holding.set()


class TellingEngine(FakeEngine):
    """Tells the probability of each word, with an alternative, where it is asked to."""

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        for item in super().stream(prompt, options, stopped):
            if isinstance(item, Piece) and options.logprobs is not None:
                token = Token(item.text, math.log(0.75), ((item.text, math.log(0.75)), ("<b>other</b>", math.log(0.2))))
                item = Piece(item.text, 0, (token,))
            yield item


class TableEngine(FakeEngine):
    """A model that takes a table: no conversation, no text."""

    chat = "none"
    context_length = None
    supports = frozenset()
    signature: ClassVar[dict[str, Any]] = {
        "inputs": [{"name": "rooms", "type": "long", "required": True}, {"name": "city", "type": "string"}],
        "outputs": [{"type": "double"}],
        "params": None,
    }

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[dict[str, Any]] = []

    def predict(self, body: dict[str, Any]) -> Any:
        self.bodies.append(body)
        if "dataframe_records" not in body:
            raise BadInput("The request must hold dataframe_records.")
        return {"predictions": [12.5]}


class FakeServer:
    """What phi3core.serving.pool.ModelServer offers. `die_after`: pieces of an answer until it breaks off, dead."""

    memory = memory_taken = 123_000_000

    def __init__(self, version: Version, engine: FakeEngine) -> None:
        self.ref, self.version, self.engine = version.ref, version, engine
        self.key = secrets.token_urlsafe(8)
        self.state: Status | None = None  # what status() says, whatever is the case
        self.die_after: int | None = None
        self.dead = False
        sock = bind_socket("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self._app = create_app(lambda: engine, [version.ref], self.key)
        config = uvicorn.Config(
            self._mortal, interface="asgi3", log_level="critical", lifespan="on", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([sock],), daemon=True)
        self._thread.start()

    def status(self) -> Status:
        if self.state:
            return self.state
        if self.dead:
            return Status("failed", 1.0, "Its process was killed (signal 9).")
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return Status(json.load(answer)["status"], 0.1)
        except OSError:
            return Status("starting", 0.1)

    def wait_ready(self, timeout: float = 600) -> None:
        until(lambda: self.status().state == "ready", timeout)

    def failure(self) -> str:
        return ""

    def alive(self) -> bool:
        return not self.dead

    def hold(self) -> contextlib.AbstractContextManager[FakeServer]:
        return contextlib.nullcontext(self)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)

    async def _mortal(self, scope: Any, receive: Any, send: Any) -> None:
        pieces = 0

        async def count(message: Any) -> None:
            nonlocal pieces
            if scope.get("path") == "/v1/chat/completions":
                pieces += message.get("body", b"").count(b'"content":')
                if self.die_after is not None and pieces > self.die_after + 1:  # the first piece names the role
                    self.dead = True
                    raise ConnectionResetError("killed")  # uvicorn drops the connection in the middle of the answer
            await send(message)

        await self._app(scope, receive, count)


class FakePool:
    """A server for every version asked for; a dead one is replaced, as the real pool does."""

    def __init__(self, engines: Engines = lambda ref: FakeEngine()) -> None:
        self.engines = engines
        self.opened: list[str] = []
        self.made: dict[str, FakeServer] = {}
        self.die_after: int | None = None

    def open(self, version: Version) -> FakeServer:
        self.opened.append(version.ref)
        server = self.made.get(version.ref)
        if server is None or server.dead:
            server = self.made[version.ref] = FakeServer(version, self.engines(version.ref))
            server.die_after, self.die_after = self.die_after, None
        return server

    def servers(self) -> list[FakeServer]:
        return list(self.made.values())

    running = servers

    def close(self) -> None:
        for server in self.made.values():
            server.close()
