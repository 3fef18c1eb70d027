"""What a build's job leaves on this machine: its events, a line of JSON each, and its log.

Written by the job and by the process that started it; read by every process with the same home.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phi3core.settings import Settings


def log_path(config: Settings, run_id: str) -> Path:
    """The build's log on this machine: what the converter and the libraries printed."""
    return config.logs / f"build-{run_id}.log"


def append_event(config: Settings, run_id: str, event: dict[str, Any]) -> None:
    with _events_path(config, run_id).open("a") as file:
        file.write(json.dumps(event) + "\n")


def read_events(config: Settings, run_id: str) -> list[dict[str, Any]]:
    """The job's events, oldest first; none where the job runs on another machine."""
    path = _events_path(config, run_id)
    if not path.is_file():
        return []
    # The last line may be half-written: the next call reads it whole.
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]


def _events_path(config: Settings, run_id: str) -> Path:
    return config.jobs / f"{run_id}.jsonl"
