"""A server that stands in for a managed service, and how it is asked."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from phi3core.endpoints.client import EndpointAnswer, invoke_endpoint
from phi3core.endpoints.config import Endpoint

KEY = "a-very-secret-key"
HELLO = [{"role": "user", "content": "hello"}]
TALK = [{"role": "system", "content": "Be brief."}, *HELLO]


def ask(endpoint: Endpoint, messages: list[dict[str, str]] = HELLO, **options: Any) -> EndpointAnswer:
    return invoke_endpoint(endpoint, messages, options, lambda cut: None)


class Service:
    """A server that answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.answer, self.headers = 200, b'"fine"', {"Content-Type": "application/json"}
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.requests.append((self.path, dict(self.headers), json.loads(body)))
                self._answer()

            def do_GET(self) -> None:
                service.requests.append((self.path, dict(self.headers), None))
                self._answer()

            def _answer(self) -> None:
                self.send_response(service.status)
                for name, value in {**service.headers, "Content-Length": str(len(service.answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(service.answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, answer: Any, status: int = 200, **headers: str) -> Service:
        self.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.status, self.headers = status, {"Content-Type": "application/json", **headers}
        return self

    def endpoint(self, **changes: Any) -> Endpoint:
        return replace(Endpoint("far", "mlflow", f"{self.url}/score", key=KEY), **changes)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
