"""A child process that will serve one version: started, told what to load, ended.

It listens on loopback with a secret of its own, and ends when its standard input closes, so none outlives a killed
parent. child.py is what runs in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil

CHILD = (sys.executable, "-m", "phi3core.serving.child.main")


def _environment(key: str) -> dict[str, str]:
    tunables = [os.environ.get("GLIBC_TUNABLES", ""), "glibc.malloc.hugetlb=1"]
    return {
        **os.environ,
        "PHI3_SERVER_KEY": key,
        # The child itself lets pickles in, once it is told to serve a model that is trusted.
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        # Weights and KV caches in large pages, where Linux gives them: decisions/0014.
        "GLIBC_TUNABLES": ":".join(filter(None, tunables)),
    }


class Child:
    """A process that waits to be told what to serve; a spare one has imported meanwhile what it will need."""

    def __init__(self, log: Path, command: tuple[str, ...] = CHILD) -> None:
        self.key = secrets.token_urlsafe(32)
        self.port: int | None = None
        self.base = 0  # resident bytes when it had its port, before any model
        self.folder = ""  # where the model's files are, once the child has said so
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=_environment(self.key),
                start_new_session=True,  # Ctrl-C in the terminal is the app's to handle
            )
        threading.Thread(target=self._listen, daemon=True).start()

    def alive(self) -> bool:
        return self.process.poll() is None

    def tell(self, order: dict[str, Any]) -> None:
        """What to serve: see child.py. A child that has died meanwhile is found dead by whoever looks."""
        assert self.process.stdin
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()

    def rss(self) -> int:
        """Resident bytes; 0 once it has ended."""
        if not self.alive():
            return 0
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def effort(self) -> tuple[float, int]:
        """Changes as long as it does anything: processor seconds and resident bytes."""
        try:
            times = psutil.Process(self.process.pid).cpu_times()
            return round(times.user + times.system, 1), self.rss()
        except psutil.Error:
            return 0.0, 0

    def hang_up(self) -> None:
        """Tell it to end."""
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def end(self, patience: float = 2.0) -> None:
        """End it; it has so many seconds to go by itself."""
        self.hang_up()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:  # a model may print: nobody reads it, but the pipe must not fill
            if self.port is None or line.startswith(b'{"folder":'):
                with contextlib.suppress(ValueError, AttributeError):
                    told = json.loads(line)
                    self.base = self.base or self.rss()
                    self.port, self.folder = told.get("port", self.port), told.get("folder", self.folder)
