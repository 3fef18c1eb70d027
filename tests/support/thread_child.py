"""Children for the pool that run in threads of this process: the real ASGI app, on an engine of children.py."""

from __future__ import annotations

import threading
from itertools import count
from pathlib import Path
from typing import Any

import uvicorn

from phi3core.http_client import local_client
from phi3core.serving.child.app import bind_socket, create_app
from tests.support import children


class ThreadChild:
    """What phi3core.serving.spawn.Child offers, without a process: a hundred times as soon there, and it can't die."""

    _pids = count(200_001)
    base, key = 0, "key"

    def __init__(self, log: Path) -> None:
        self.pid, self.exit_code = next(self._pids), None  # type: int, int | None
        self._socket = bind_socket("127.0.0.1", 0)
        self.port: int | None = self._socket.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def alive(self) -> bool:
        return self.exit_code is None

    def send(self, order: dict[str, Any]) -> None:
        folder = Path(order["artifact"])
        app = create_app(
            lambda: children.load(folder),
            order["names"],
            self.key,
            parallel=order["parallel"],
            queue=order["queue"],
            strict=order["strict"],
        )
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()

    def health(self, timeout: float) -> dict[str, Any] | None:
        if not (self._server and self._server.started and self.alive()):
            return None
        address, key = f"http://127.0.0.1:{self.port}/health", {"Authorization": f"Bearer {self.key}"}
        return dict(local_client().get(address, headers=key, timeout=timeout).json())

    def rss(self) -> int:
        return 0

    def effort(self) -> tuple[float, int]:
        return 0.0, 0

    def disk_used(self) -> float:
        return 0

    def request_exit(self) -> None:
        if self._server:
            self._server.should_exit = True

    def end(self, patience: float = 2.0) -> None:
        self.request_exit()
        if self._thread:
            self._thread.join(10)
        self._socket.close()
        self.exit_code = 0
