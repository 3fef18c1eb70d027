"""The operating system's side of a job: whether its process lives, and ending what a killed one leaves running."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import Any

_children: dict[str, subprocess.Popen[bytes]] = {}


def add_child(run_id: str, child: subprocess.Popen[bytes]) -> None:
    """Keep the process of a job that this process has started."""
    _children[run_id] = child


def living_process(run_id: str, events: list[dict[str, Any]]) -> int | None:
    """The pid of the job's process while it lives on this machine. events: the job's."""
    import psutil

    child = _children.get(run_id)
    if child is not None:
        if child.poll() is None:
            return child.pid
        _children.pop(run_id, None)
        if child.stdin:
            child.stdin.close()
        return None
    pid, born = started_process(events)
    if not pid:
        return None
    try:
        process = psutil.Process(pid)
        # Pids are used again: a process much younger than the job is another one.
        same = abs(process.create_time() - born) < 5 and process.status() != psutil.STATUS_ZOMBIE
        return int(process.pid) if same else None
    except psutil.NoSuchProcess:
        return None


def started_process(events: list[dict[str, Any]]) -> tuple[int, float]:
    """The pid of the job's process and its start in seconds since 1970; zeros when it was never started."""
    event = next((event for event in events if "pid" in event), {"pid": 0, "born": 0.0})
    return int(event["pid"]), float(event["born"])


def kill_session(session: int) -> None:
    """Kill what is left of a dead job's session: the converter, say. Its number is not used again while one lives."""
    import psutil

    if not session:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        if psutil.Process(session).status() != psutil.STATUS_ZOMBIE:
            return  # the number is another process's by now
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == session:
                process.kill()
