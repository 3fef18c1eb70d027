"""What waits for the store: events written to disk at once, and sent in the background when the store takes them.

An event is a dictionary with a ``kind`` and the id of the ``conversation`` it is about; what it means is known to
whoever sends it (conversations.py). A file per event in settings.outbox, in the order of their names. One process
at a time sends, whichever holds the lock, and it sends everybody's, those of a dead process too. Where tracing is off
the events stay in memory and are never sent.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from phi3core.errors import NotFound, Phi3Error, StoreDown
from phi3core.settings import Settings

Event = dict[str, Any]
Send = Callable[[Settings, Event, bool], None]

_LONGEST_PAUSE = 60.0  # seconds between two attempts
_KEPT_IN_MEMORY = 2000  # events, where tracing is off
_DRAFT = "draft"
_STARTED = time.time_ns()
_KEPT_READ = 5000  # events that were read from disk
_numbers = itertools.count()
_read: dict[Path, Event] = {}  # files never change, so each is read once


def put(settings: Settings, event: Event, send: Send, sync: bool = True) -> None:
    """Keep an event, on disk before this returns, and have it sent in the background. Raises OSError.

    sync: wait until the disk itself has it, so that a power cut does not lose it either; leave it out for many.
    """
    if not settings.tracing:
        _keep_in_memory(settings, event)
        return
    part = _write(settings, event, "part", sync)
    part.replace(part.with_suffix(""))
    _sender(settings, send).wake()


def draft(settings: Settings, event: Event) -> Path | None:
    """Keep an event for the case that this process does not live to put another in its place; see `discard`.

    It is neither sent nor seen while this process lives. None where it can't be kept: that must stop nobody.
    """
    if settings.tracing:
        with contextlib.suppress(OSError):
            return _write(settings, event, _DRAFT, sync=False)
    return None


def discard(draft: Path | None) -> None:
    """The draft is needed no more."""
    if draft is not None:
        with contextlib.suppress(OSError):
            draft.unlink()


def _write(settings: Settings, event: Event, suffix: str, sync: bool) -> Path:
    """A new file, which `_files` does not find before its suffix is taken off."""
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


def events(settings: Settings) -> list[Event]:
    """Everything that is not sent yet, in order."""
    if not settings.tracing:
        with _memory_lock:
            return list(_memory.get(settings.home, []))
    found = []
    for path in _files(settings):
        with contextlib.suppress(FileNotFoundError):  # sent meanwhile
            if (event := _load(path)) is not None:
                found.append(event)
    return found


def pending(settings: Settings) -> int:
    """How many events wait for the store."""
    return len(_files(settings)) if settings.tracing else 0


def trouble(settings: Settings) -> str:
    """Why the last attempt to send failed; empty when nothing is wrong."""
    sender = _senders.get(settings.home)
    return sender.trouble if sender and pending(settings) else ""


def start(settings: Settings, send: Send) -> None:
    """Begin to send what an earlier process left, and what it had in hand when it died."""
    for path in settings.outbox.glob(f"*.{_DRAFT}") if settings.tracing else ():
        if _is_orphan(path):
            _adopt(settings, path)
    for path in settings.outbox.glob("*.part"):
        if _is_orphan(path):
            path.unlink(missing_ok=True)
    if pending(settings):
        _sender(settings, send).wake()


def flush(settings: Settings, send: Send, seconds: float) -> bool:
    """Wait until nothing is left to send, or an attempt has failed, or for so long; whether nothing is left."""
    if not pending(settings):
        return True
    sender, deadline = _sender(settings, send), time.monotonic() + seconds
    failures = sender.failures
    sender.wake(now=True)
    while pending(settings) and sender.failures == failures and time.monotonic() < deadline:
        time.sleep(0.01)
    return not pending(settings)


def drop(settings: Settings, conversation: str) -> None:
    """Forget what is not sent yet about a conversation."""
    with _memory_lock:
        if kept := _memory.get(settings.home):
            kept[:] = [event for event in kept if event.get("conversation") != conversation]
    for path in _files(settings):
        with contextlib.suppress(FileNotFoundError):
            event = _load(path)
            if event and event.get("conversation") == conversation:
                path.unlink()


# ---------------------------------------------------------------- files


def _files(settings: Settings) -> list[Path]:
    try:
        return sorted(settings.outbox.glob("*.json"))
    except OSError:
        return []


def _load(path: Path) -> Event | None:
    """The event in a file; None for a damaged one, which is put aside. Raises FileNotFoundError."""
    if (known := _read.get(path)) is not None:
        if path.exists():
            return known
        _read.pop(path, None)
        raise FileNotFoundError(path)
    try:
        event = json.loads(path.read_text())
        if not isinstance(event, dict) or not isinstance(event.get("conversation"), str):
            raise ValueError("it holds no event")
    except ValueError as error:
        print(f"{path} can't be sent and is put aside: {error}.", file=sys.stderr, flush=True)
        path.replace(path.with_suffix(".damaged"))
        return None
    if len(_read) >= _KEPT_READ:
        _read.clear()
    _read[path] = event
    return event


def _adopt(settings: Settings, draft: Path) -> None:
    """A dead process's draft becomes an event, unless what it stood in for is there after all."""
    with contextlib.suppress(FileNotFoundError):  # somebody else adopts it
        kept = {event["turn"]["id"] for event in events(settings) if event["kind"] == "turn"}
        event = _load(draft)
        if event is None or event["turn"]["id"] in kept:
            draft.unlink(missing_ok=True)
        else:
            draft.replace(draft.with_suffix(""))
        _read.pop(draft, None)


def _is_orphan(path: Path) -> bool:
    """Whether the process that wrote a file is dead."""
    written, _, pid = path.name.split(".")[0].split("-")
    if int(pid) == os.getpid():
        return int(written) < _STARTED  # in a container every life of the app has the same number
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's, but alive
    return False


# ---------------------------------------------------------------- memory

_memory: dict[Path, list[Event]] = {}
_memory_lock = threading.Lock()


def _keep_in_memory(settings: Settings, event: Event) -> None:
    with _memory_lock:
        kept = _memory.setdefault(settings.home, [])
        kept.append(json.loads(json.dumps(event)))  # as it would come back from disk
        del kept[: max(0, len(kept) - _KEPT_IN_MEMORY)]


# ---------------------------------------------------------------- sending

_senders: dict[Path, Sender] = {}
_senders_lock = threading.Lock()


def _sender(settings: Settings, send: Send) -> Sender:
    with _senders_lock:
        return _senders.setdefault(settings.home, Sender(settings, send))


@dataclass
class Sender:
    """The thread of this process that empties an outbox; it ends when there is nothing left and starts anew."""

    settings: Settings
    send: Send
    trouble: str = ""
    failures: int = 0
    _tried: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pause = 0.0

    def wake(self, now: bool = False) -> None:
        """There is something to send. now: try at once, even if the last attempt has just failed."""
        with self._lock:
            if now or not self._pause:
                self._wake.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._pause or None)
            self._wake.clear()
            try:
                fine = self._round()
            except Exception as error:  # whatever it is, the events are on disk, and the next round tries again
                fine, self.trouble = False, f"The outbox can't be sent: {error!r}"
            if fine:
                self._pause, self.trouble = 0.0, ""
            else:
                self._pause = min(max(1.0, 2 * self._pause), _LONGEST_PAUSE)
                self.failures += 1
            with self._lock:
                if fine and not self._wake.is_set():
                    self._thread = None
                    return

    def _round(self) -> bool:
        """Send everything there is; whether nothing is left that failed."""
        while _files(self.settings):
            try:
                with FileLock(self.settings.locks / "outbox.lock", timeout=0.5):
                    return self._send_all()
            except Timeout:
                continue  # another process is sending, ours too
        return True

    def _send_all(self) -> bool:
        failed: set[str] = set()
        while paths := [path for path in _files(self.settings) if str(path) not in failed]:
            for path in paths:
                try:
                    with contextlib.suppress(FileNotFoundError):
                        event = _load(path)
                        if event is not None:
                            self._send_one(path, event, failed)
                except StoreDown as error:
                    self.trouble = str(error)
                    return False  # nothing else would get through either
        return not failed

    def _send_one(self, path: Path, event: Event, failed: set[str]) -> None:
        """Send one event and forget it. What fails for its own sake is told in `trouble` and holds up only what
        builds on it.
        """
        about = event["conversation"]
        if event["kind"] != "turn" and about in failed:
            failed.add(str(path))
            return
        # One that was there before us, or failed before, may have reached the store without our knowing.
        again = path in self._tried or int(path.name[:20]) < _STARTED
        try:
            self._tried.add(path)
            self.send(self.settings, event, again)
        except StoreDown:
            raise
        except NotFound as error:
            if event["kind"] == "turn":
                self.trouble = str(error)
                failed |= {str(path), about}
                return
            # What a rating or a title is about was deleted meanwhile: it has become moot.
        except Exception as error:
            self.trouble = str(error) if isinstance(error, Phi3Error) else f"A turn can't be saved: {error!r}"
            failed |= {str(path), about}
            return
        path.unlink(missing_ok=True)
        self._tried.discard(path)
        _read.pop(path, None)
