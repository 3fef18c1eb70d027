"""What waits for the store: events written to disk at once, and sent in the background when the store takes them.

What an event means is known to the function that sends it (chat/history.py). Files are in `outbox_files`, the thread
that sends them in `sender`. Where tracing is off the events stay in memory and are never sent.
"""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

from phi3core.settings import Settings

from .outbox_files import DRAFT, PART, Event, adopt_draft, event_files, is_orphan, read_event, write_event
from .sender import Send, find_sender, get_sender

_MOST_IN_MEMORY = 2000  # events, where tracing is off
_memory: dict[Path, list[Event]] = {}
_memory_lock = threading.Lock()


def put(settings: Settings, event: Event, send: Send, sync: bool = True) -> None:
    """Keep an event, on disk before this returns, and have it sent in the background. Raises OSError.

    sync: wait until the disk itself has it, so that a power cut does not lose it either; leave it out for many.
    """
    if not settings.tracing:
        _put_in_memory(settings, event)
        return
    part = write_event(settings, event, PART, sync)
    part.replace(part.with_suffix(""))
    get_sender(settings, send).wake()


def draft(settings: Settings, event: Event) -> Path | None:
    """Keep an event in case this process dies before it puts another in its place; `discard` ends it.

    It is neither sent nor listed while this process lives. None where it can't be written, which must not keep the
    caller from its work.
    """
    if settings.tracing:
        with contextlib.suppress(OSError):
            return write_event(settings, event, DRAFT, sync=False)
    return None


def discard(draft: Path | None) -> None:
    """Delete a draft that is not needed any more."""
    if draft is not None:
        with contextlib.suppress(OSError):
            draft.unlink()


def pending_events(settings: Settings) -> list[Event]:
    """Everything that is not sent yet, in order."""
    if not settings.tracing:
        with _memory_lock:
            return list(_memory.get(settings.home, []))
    found = []
    for path in event_files(settings):
        with contextlib.suppress(FileNotFoundError):  # sent meanwhile
            if (event := read_event(path)) is not None:
                found.append(event)
    return found


def count_pending(settings: Settings) -> int:
    """How many events wait for the store."""
    return len(event_files(settings)) if settings.tracing else 0


def sending_error(settings: Settings) -> str:
    """Why the last attempt to send failed; empty when nothing is wrong."""
    found = find_sender(settings)
    return found.error if found and count_pending(settings) else ""


def start_sending(settings: Settings, send: Send) -> None:
    """Begin to send what an earlier process left, and what it had in hand when it died."""
    for path in settings.outbox.glob(f"*.{DRAFT}") if settings.tracing else ():
        if is_orphan(path):
            adopt_draft(settings, path)
    for path in settings.outbox.glob(f"*.{PART}"):
        if is_orphan(path):
            path.unlink(missing_ok=True)
    if count_pending(settings):
        get_sender(settings, send).wake()


def flush(settings: Settings, send: Send, seconds: float) -> bool:
    """Wait until nothing is left to send, or an attempt has failed, or for so long; whether nothing is left."""
    return not count_pending(settings) or get_sender(settings, send).flush(seconds)


def drop(settings: Settings, conversation: str, turn: str = "") -> None:
    """Delete what is not sent yet about a conversation, or about one turn of it."""

    def is_about(event: Event) -> bool:
        about = event.get("turn", "")
        about = about["id"] if isinstance(about, dict) else about
        return event.get("conversation") == conversation and turn in ("", about)

    with _memory_lock:
        if events := _memory.get(settings.home):
            events[:] = [event for event in events if not is_about(event)]
    for path in event_files(settings):
        with contextlib.suppress(FileNotFoundError):
            event = read_event(path)
            if event and is_about(event):
                path.unlink()


def _put_in_memory(settings: Settings, event: Event) -> None:
    with _memory_lock:
        events = _memory.setdefault(settings.home, [])
        events.append(json.loads(json.dumps(event)))  # as it would come back from disk
        del events[: max(0, len(events) - _MOST_IN_MEMORY)]
