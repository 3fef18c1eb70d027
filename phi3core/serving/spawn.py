"""A child process that will serve one version: started, told what to serve, asked how it is, ended.

It listens on loopback with a secret of its own, and ends when its standard input closes, so that none outlives a killed
parent. child/main.py is the program that runs in it. Its environment is none of ours: see phi3core/cell.
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

from phi3core.cell import environment
from phi3core.cell.own_folder import OwnFolder
from phi3core.http_client import local_client

from . import disk

COMMAND = (sys.executable, "-m", "phi3core.serving.child.main")


_FIRST_LINE = 1000  # bytes of it, at most
# The child itself lets pickles in, once it is told to serve a model that is trusted.
_NO_PICKLES = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def _first_environment(folder: str) -> dict[str, str]:
    """What it begins with; its own comes with its order."""
    tunables = [os.environ.get("GLIBC_TUNABLES", ""), "glibc.malloc.hugetlb=1"]
    return environment.allowed(folder) | {
        # Weights and KV caches in large pages, where Linux gives them: decisions/0014.
        "GLIBC_TUNABLES": ":".join(filter(None, tunables)),
        # numpy would start threads when it is imported, and a thread that is older than its cell is not in it.
        "OPENBLAS_NUM_THREADS": "1",
    }


class Child:
    """A process that waits for its order; a spare one has imported meanwhile what every order needs.

    key: what its clients must send, "" for nothing, None for a secret of its own. host: where it can be asked.

    Raises OSError where the process can't be started.
    """

    def __init__(
        self, log: Path, command: tuple[str, ...] = COMMAND, key: str | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.key = secrets.token_urlsafe(32) if key is None else key
        self._at = f"[{host}]" if ":" in host else host
        self.port: int | None = None
        self.base = 0  # resident bytes when it had its port, before any model
        self._own = OwnFolder()  # the only one in which it may write
        self._folder = self._own.path
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=_first_environment(self._folder),
                start_new_session=True,  # Ctrl-C in the terminal is the app's to handle
            )
        threading.Thread(target=self._read_output, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        """Whether it runs. One that was killed answers nothing more, while its last threads may still be ending."""
        if self._process.poll() is None and self._main_thread_ended():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            return False
        return self._process.returncode is None

    def _main_thread_ended(self) -> bool:
        # The system tells a process's end only when all of its threads are gone, and its socket takes requests
        # until then: what is sent to it would be lost.
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False  # it ended between the two questions: `poll` tells it from now on

    @property
    def exit_code(self) -> int | None:
        """The process's exit status, or minus the signal that killed it; None while it was not seen to have ended."""
        return self._process.returncode

    def send(self, order: dict[str, Any]) -> None:
        """Tell it what to serve: see child/main.py. That it has died meanwhile is found by the next health check."""
        assert self._process.stdin
        own = environment.allowed(self._folder, order["network"]) | _NO_PICKLES
        told = {**order, "key": self.key, "folder": self._folder, "environment": own}
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()

    def health(self, timeout: float) -> dict[str, Any] | None:
        """What its /health answers; None where it has no port yet or does not answer within so many seconds."""
        if self.port is None:
            return None
        import httpx2

        try:
            address, key = f"http://{self._at}:{self.port}/health", f"Bearer {self.key}".strip()
            answer = local_client().get(address, headers={"Authorization": key}, timeout=timeout)
            found: dict[str, Any] = answer.raise_for_status().json()
        except (httpx2.HTTPError, ValueError):
            return None
        return found

    def rss(self) -> int:
        """Resident bytes; 0 once it has ended."""
        if not self.alive():
            return 0
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def effort(self) -> tuple[float, int]:
        """Changes as long as the process does anything: processor seconds and resident bytes."""
        try:
            times = psutil.Process(self.pid).cpu_times()
            return round(times.user + times.system, 1), self.rss()
        except psutil.Error:
            return 0.0, 0

    def request_exit(self) -> None:
        """Tell it to end, without waiting for it."""
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def end(self, patience: float = 2.0) -> None:
        """End it: it is killed where it has not ended by itself within so many seconds."""
        self.request_exit()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def disk_used(self) -> float:
        """Bytes of disk that it takes: see disk.py."""
        return disk.used(self._folder, self.pid)

    def _read_output(self) -> None:
        output = self._process.stdout
        assert output
        with contextlib.suppress(ValueError, AttributeError):
            port = json.loads(output.readline(_FIRST_LINE)).get("port")
            self.base = self.rss()
            self.port = port
        while os.read(output.fileno(), 65536):  # a model may print: it is dropped, but the pipe must not fill
            pass
        self._process.wait()
        self._own.remove()
