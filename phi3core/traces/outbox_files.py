"""The outbox on disk: a JSON file for each event, in the order of their names.

A file's name holds when it was written, a counter and the process that wrote it. Its content never changes, so each
file is read once. Knows neither what an event means nor how it is sent.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from phi3core.settings import Settings

Event = dict[str, Any]
"""A ``kind``, the id of the ``conversation`` it is about, and what the kind needs."""

DRAFT, PART = "draft", "part"  # suffixes of files that are not events yet
STARTED = time.time_ns()  # when this process began
_CACHED = 5000  # events that were read from disk
_numbers = itertools.count()
_cache: dict[Path, Event] = {}


def write_event(settings: Settings, event: Event, suffix: str, sync: bool) -> Path:
    """Write a new file, which `event_files` does not list before its suffix is taken off. Raises OSError.

    sync: wait until the disk itself has it.
    """
    settings.outbox.mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns():020d}-{next(_numbers):06d}-{os.getpid()}.json.{suffix}"
    path = settings.outbox / name
    try:
        with path.open("w") as file:
            json.dump(event, file)  # escapes whatever is not ASCII, lone surrogates too
            if sync:
                file.flush()
                os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return path


def event_files(settings: Settings) -> list[Path]:
    """The files of the events that are not sent yet, in order."""
    try:
        return sorted(settings.outbox.glob("*.json"))
    except OSError:
        return []


def read_event(path: Path) -> Event | None:
    """The event in a file; None for a damaged one, which is put aside. Raises FileNotFoundError."""
    if (cached := _cache.get(path)) is not None:
        if path.exists():
            return cached
        _cache.pop(path, None)
        raise FileNotFoundError(path)
    try:
        event = json.loads(path.read_text())
        if not isinstance(event, dict) or not isinstance(event.get("conversation"), str):
            raise ValueError("it holds no event")
    except ValueError as error:
        print(f"{path} can't be sent and is put aside: {error}.", file=sys.stderr, flush=True)
        path.replace(path.with_suffix(".damaged"))
        return None
    if len(_cache) >= _CACHED:
        _cache.clear()
    _cache[path] = event
    return event


def remove_event(path: Path) -> None:
    """Delete an event's file; nothing happens where it is gone already."""
    path.unlink(missing_ok=True)
    _cache.pop(path, None)


def adopt_draft(settings: Settings, draft: Path) -> None:
    """Make a dead process's draft an event, unless the turn that it stood in for is in the outbox after all."""
    with contextlib.suppress(FileNotFoundError):  # another process adopts it
        written = [read_event(path) for path in event_files(settings)]
        turns = {event["turn"]["id"] for event in written if event and event["kind"] == "turn"}
        event = read_event(draft)
        if event is None or event["turn"]["id"] in turns:
            draft.unlink(missing_ok=True)
        else:
            draft.replace(draft.with_suffix(""))
        _cache.pop(draft, None)


def is_orphan(path: Path) -> bool:
    """Whether the process that wrote a file is dead."""
    written, _, pid = path.name.split(".")[0].split("-")
    if int(pid) == os.getpid():
        return int(written) < STARTED  # in a container, every start of the app has the same process id
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # alive, and another user's
    return False
