"""Child processes that run model servers: one per version, started on demand and kept.

A child listens on loopback with a secret of its own, and ends when its standard input closes, so none
outlives a killed parent. Knows nothing of what is said to the model.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .. import registry
from ..errors import ServerError
from ..registry import Version
from ..settings import Settings


@dataclass(frozen=True)
class Status:
    """state: ``starting``, ``loading``, ``ready`` or ``failed``; reason says why it failed."""

    state: str
    seconds: float
    reason: str = ""


class ModelServer:
    """One child process serving one version."""

    def __init__(self, version: Version, artifact: Path | None, log: Path) -> None:
        self.ref, self.key, self.log = version.ref, secrets.token_urlsafe(32), log
        self.started = time.monotonic()
        self._port: int | None = None
        self._ready = False
        command = [sys.executable, "-m", "phi3core.serving.server", version.ref]
        if artifact:
            command += ["--artifact", str(artifact)]
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, "PHI3_SERVER_KEY": self.key},
                start_new_session=True,  # Ctrl-C in the terminal is the app's to handle
            )
        threading.Thread(target=self._read_port, daemon=True).start()

    @property
    def url(self) -> str:
        """The base URL, without /v1. Raises ServerError before the port is known."""
        if self._port is None:
            raise ServerError(f"The model server for {self.ref} has not started yet. Try again in a moment.")
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def status(self) -> Status:
        seconds = time.monotonic() - self.started
        if not self.alive():
            return Status("failed", seconds, self._last_words())
        if self._port is None:
            return Status("starting", seconds)
        if self._ready:
            return Status("ready", seconds)
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                health = json.load(answer)
        except (OSError, ValueError):
            return Status("starting", seconds)
        self._ready = health["status"] == "ready"
        return Status(health["status"], seconds, health["error"] or "")

    def wait_ready(self, timeout: float = 600) -> None:
        """Block until the model has loaded. Raises ServerError when it fails or takes longer."""
        deadline = time.monotonic() + timeout
        while (status := self.status()).state != "ready":
            if status.state == "failed":
                raise ServerError(f"The model server for {self.ref} could not start. {status.reason}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.ref} has not loaded after {timeout:.0f} s. Its log is {self.log}.")
            time.sleep(0.05)

    def close(self) -> None:
        """End the process; it has two seconds to go by itself."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read_port(self) -> None:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if line:
            self._port = int(json.loads(line)["port"])
        for _ in self._process.stdout:
            pass  # a model may print: nobody reads it, but the pipe must not fill

    def _last_words(self) -> str:
        code = self._process.returncode
        how = f"was killed (signal {-code})" if code and code < 0 else f"ended (exit status {code})"
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.is_file() else []
        said = f" It said: {lines[-1][:300]}" if lines else ""
        return f"Its process {how}.{said}"


class Pool:
    """The model servers of this process, by version."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers: dict[str, ModelServer] = {}
        self._opening: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def open(self, version: Version) -> ModelServer:
        """The version's server, started if it is not running. Returns at once: see ModelServer.status."""
        # A version that was deleted and built again under the same number is another one.
        key = f"{version.ref} {version.source}"
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:  # one process per version, and no version waits for another
            server = self._servers.get(key)
            if server and server.status().state != "failed":
                return server
            if server:
                server.close()
            artifact = registry.local_folder(self._settings, version)
            log = self._settings.logs / f"server-{version.name}-{version.version}-{os.getpid()}.log"
            with self._lock:
                for old in [held for held in self._servers if held.startswith(f"{version.ref} ") and held != key]:
                    self._servers.pop(old).close()
                self._servers[key] = ModelServer(version, artifact, log)
                return self._servers[key]

    def running(self) -> list[ModelServer]:
        """The servers whose processes live."""
        return [server for server in self._servers.values() if server.alive()]

    def close(self) -> None:
        """End every server."""
        with self._lock:
            for server in self._servers.values():
                server.close()
            self._servers.clear()


@cache
def pool(settings: Settings) -> Pool:
    """The one pool of this process."""
    return Pool(settings)
