"""Commands as a person or a script runs them."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time

from click.testing import CliRunner, Result

from phi3core.cli.main import main
from phi3core.registry import reader
from phi3core.settings import Settings


def run(*args: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, args, input=typed)


def done(*args: str, typed: str | None = None) -> str:
    """What a command that must go well prints."""
    told = run(*args, typed=typed)
    assert told.exit_code == 0, told.output
    return told.stdout


def refused(*args: str, typed: str | None = None) -> str:
    """The one sentence of a command that must be refused."""
    told = run(*args, typed=typed)
    assert told.exit_code == 1, told.output
    assert told.stdout == ""
    return told.stderr


def start(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "phi3core", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def lines_of(process: subprocess.Popen[str]) -> queue.Queue[str]:
    """Its lines as they come; an empty one when there are no more."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines


def wait_for(lines: queue.Queue[str], text: str, seconds: float = 300) -> None:
    deadline, seen = time.monotonic() + seconds, []
    while True:
        line = lines.get(timeout=max(0.1, deadline - time.monotonic()))
        seen.append(line)
        if text in line:
            return
        assert line, f"it ended without “{text}”: {seen}"


def stages(settings: Settings) -> dict[int, str]:
    return {version.version: version.stage for version in reader.list_versions(settings, "phi3")}
