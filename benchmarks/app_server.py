"""The real app as a process, and the machine that it runs on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from phi3core.settings import Settings


@contextlib.contextmanager
def running_app(config: Settings) -> Iterator[tuple[str, psutil.Process]]:
    """The real app on a free port: its address and its server's process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "streamlit", "run", str(root / "server.py"), f"--server.port={port}"]
    env = {**os.environ, "PHI3_STOP_WITH_STDIN": "1"}
    with (config.logs / "bench.log").open("ab") as log:
        child = subprocess.Popen(command, cwd=root, env=env, stdin=subprocess.PIPE, stdout=log, stderr=log)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/_stcore/health", timeout=2).status_code == 200:
                    break
            if time.monotonic() > deadline:
                raise SystemExit(f"The app did not start: see {config.logs / 'bench.log'}.")
            time.sleep(0.1)
        yield url, psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(20)


def describe_machine() -> str:
    cpu = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown processor"
    )
    memory = psutil.virtual_memory().total / 1e9
    return f"{psutil.cpu_count()} cores of {cpu}, {memory:.0f} GB"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []
