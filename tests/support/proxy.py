"""A stand-in in front of a real `mlflow server`: for stores that know less, are slow, or break."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

STAGES = ("/registered-models/get-latest-versions", "/model-versions/transition-stage")
"""What Unity Catalog has not; with the field below it hides what tells a stage."""
STAGE_FIELDS = ("current_stage", "latest_versions")
ALIASES = ("/registered-models/alias",)
"""What Azure ML has not."""
ALIAS_FIELDS = ("aliases",)


@dataclass
class Proxy:
    """A server in front of a store that refuses calls, waits before it passes them on, or breaks off."""

    url: str
    delay: float = 0.0
    refuses: tuple[str, ...] = ()
    """Ends of paths, as “/model-versions/transition-stage”, that are answered as by a store that has no such call."""
    hides: tuple[str, ...] = ()
    """Fields that are taken out of every answer."""
    broken: int = 0
    """A status that everything is answered with; 0 for none."""
    resets: int = 0
    """How many requests to break off without an answer."""
    asked: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def proxy(target: str, **given: Any) -> Iterator[Proxy]:
    """A `Proxy` in front of a store's address."""
    host = urlsplit(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece: its second part would wait 40 ms for the first to be acknowledged

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            made.asked[path.rsplit("/mlflow/")[-1]] += 1
            time.sleep(made.delay)
            if made.resets:
                made.resets -= 1
                self.close_connection = True
                return
            if made.broken:
                self.answer(made.broken, b"broken")
            elif path.endswith(made.refuses or ("\0",)):
                said = {"error_code": "ENDPOINT_NOT_FOUND", "message": f"No API found for '{self.command} {path}'"}
                self.answer(404, json.dumps(said).encode())
            else:
                connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=60)
                connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
                with connection.getresponse() as answer:
                    self.answer(answer.status, without(answer.read(), made.hides))
                connection.close()

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Proxy(f"http://127.0.0.1:{server.server_port}", **given)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def without(body: bytes, fields: tuple[str, ...]) -> bytes:
    """JSON without these fields, wherever they are in it."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: strip(inner) for name, inner in value.items() if name not in fields}
        return [strip(inner) for inner in value] if isinstance(value, list) else value

    with contextlib.suppress(ValueError):
        return json.dumps(strip(json.loads(body))).encode() if fields else body
    return body
