"""A small Hugging Face hub on loopback: as much of its API as huggingface_hub needs to download a repository."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"


class _Hub(BaseHTTPRequestHandler):
    """One repository, ``repos[name]`` a folder; revisions main and v1 both mean SHA. ``acme/gated`` is gated."""

    protocol_version = "HTTP/1.1"
    repos: dict[str, Path]

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2])
        if name == "acme/gated":
            return self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
        if name == "acme/broken":
            return self._send(500, b"the hub is on fire")
        if name not in self.repos:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        rest = parts[4:] if api else parts[3:]
        revision = (rest[1] if len(rest) > 1 else "main") if api else rest[0]
        if revision not in ("main", "v1", SHA):
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        if api and rest[:1] == ["tree"]:
            return self._json(self._tree(self.repos[name]))
        if api:
            return self._json(self._info(name))
        return self._file(self.repos[name] / "/".join(rest[1:]), body)

    def _info(self, name: str) -> dict[str, object]:
        siblings = [{"rfilename": file["path"], "size": file["size"]} for file in self._tree(self.repos[name])]
        return {
            "id": name,
            "sha": SHA,
            "siblings": siblings,
            "cardData": {"license": "mit"},
            "tags": [],
            "private": False,
        }

    def _tree(self, root: Path) -> list[dict[str, object]]:
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return [
            {"type": "file", "path": str(path.relative_to(root)), "size": path.stat().st_size, "oid": _etag(path)}
            for path in files
        ]

    def _file(self, path: Path, body: bool) -> None:
        if not path.is_file():
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": SHA}
        return self._send(200, path.read_bytes(), headers, body)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None, body: bool = True) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(content)


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextmanager
def serving(repos: dict[str, Path]) -> Iterator[str]:
    """The hub's address while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {"repos": repos}))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
