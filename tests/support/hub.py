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
    digests: dict[Path, str]  # SHA-256 of the large files, as they were when the hub was started
    cut: set[str]  # names of files whose connection breaks half way, once
    ranges: list[str]  # what was asked for of files that were cut

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
        root = self.repos[name]
        siblings = [self._sibling(root, str(file["path"]), file["size"]) for file in self._tree(root)]
        return {
            "id": name,
            "sha": SHA,
            "siblings": siblings,
            "cardData": {"license": "mit"},
            "tags": [],
            "private": False,
        }

    def _sibling(self, root: Path, path: str, size: object) -> dict[str, object]:
        told: dict[str, object] = {"rfilename": path, "size": size}
        if digest := self.digests.get(root / path):
            told["lfs"] = {"sha256": digest, "size": size, "pointerSize": 134}
        return told

    def _tree(self, root: Path) -> list[dict[str, object]]:
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return [
            {"type": "file", "path": str(path.relative_to(root)), "size": path.stat().st_size, "oid": _etag(path)}
            for path in files
        ]

    def _file(self, path: Path, body: bool) -> None:
        if not path.is_file():
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        content, wanted = path.read_bytes(), self.headers.get("Range", "")
        if body and path.name in self.cut:
            self.cut.remove(path.name)
            headers["Content-Length"] = str(len(content))
            self.close_connection = True
            return self._send(200, content[: len(content) // 2], headers)
        if body and wanted:
            self.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self._send(206, content[start:], headers)
        return self._send(200, content, headers, body)

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
def serving(repos: dict[str, Path], cut: set[str] | None = None, ranges: list[str] | None = None) -> Iterator[str]:
    """The hub's address while it runs. cut, ranges: see `_Hub`."""
    large = [path for root in repos.values() for path in root.rglob("*.safetensors")]
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in large}
    known = {"repos": repos, "digests": digests, "cut": cut or set(), "ranges": ranges if ranges is not None else []}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), known))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
