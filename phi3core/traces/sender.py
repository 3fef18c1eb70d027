"""The thread that empties an outbox into the store.

One process at a time sends, the one that holds the lock, and it sends what every process wrote, dead ones too.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from phi3core.clock import SYSTEM, Clock
from phi3core.errors import NotFound, Phi3Error, StoreDown
from phi3core.settings import Settings

from .outbox_files import STARTED, Event, event_files, read_event, remove_event

Send = Callable[[Settings, Event, bool], None]
"""Writes an event into the store. The third: it may be there already, whole or in part."""

_LONGEST_PAUSE = 60.0  # seconds between two attempts
_LOCK_PATIENCE = 0.5  # seconds until it is looked again whether another process has sent everything meanwhile

_senders: dict[Path, Sender] = {}
_senders_lock = threading.Lock()


def get_sender(settings: Settings, send: Send, clock: Clock = SYSTEM) -> Sender:
    """The sender of this home's outbox, made by the first call."""
    with _senders_lock:
        return _senders.setdefault(settings.home, Sender(settings, send, clock))


def find_sender(settings: Settings) -> Sender | None:
    """The sender of this home's outbox, if there was anything to send yet."""
    return _senders.get(settings.home)


class Sender:
    """Sends in a thread that ends when nothing is left, and starts anew.

    error: why the last attempt failed, as a sentence; empty after one that did not. failures: how many attempts failed.
    """

    def __init__(self, settings: Settings, send: Send, clock: Clock = SYSTEM) -> None:
        self.error = ""
        self.failures = 0
        self._settings, self._send, self._clock = settings, send, clock
        self._tried: set[Path] = set()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pause = 0.0
        self._attempts = 0  # that have begun
        self._failed_attempt = 0  # the number of the last one that failed

    @property
    def running(self) -> bool:
        return self._thread is not None

    def wake(self, now: bool = False) -> None:
        """There is something to send. now: try at once, even if the last attempt has just failed."""
        with self._lock:
            if now or not self._pause:
                self._wake.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
                self._thread.start()

    def flush(self, seconds: float) -> bool:
        """Try at once, and wait until all is sent or the attempt has failed, at most so long; whether all is sent."""
        begun, deadline = self._attempts, time.monotonic() + seconds
        self.wake(now=True)
        # An attempt that was under way already may fail for what is in order by now: the next one counts.
        while event_files(self._settings) and self._failed_attempt <= begun and time.monotonic() < deadline:
            time.sleep(0.01)
        return not event_files(self._settings)

    def _run(self) -> None:
        while True:
            self._clock.wait(self._wake, self._pause or None)
            self._wake.clear()
            self._attempts += 1
            try:
                sent = self._send_round()
            except Exception as error:  # whatever it is, the events are on disk, and the next round tries again
                sent, self.error = False, f"The outbox can't be sent: {error!r}"
            if sent:
                self._pause, self.error = 0.0, ""
            else:
                self._pause = min(max(1.0, 2 * self._pause), _LONGEST_PAUSE)
                self.failures += 1
                self._failed_attempt = self._attempts
            with self._lock:
                if sent and not self._wake.is_set():
                    self._thread = None
                    return

    def _send_round(self) -> bool:
        """Send everything there is; whether nothing is left that failed."""
        while event_files(self._settings):
            try:
                with FileLock(self._settings.locks / "outbox.lock", timeout=_LOCK_PATIENCE):
                    return self._send_all()
            except Timeout:
                continue  # another process is sending, ours too
        return True

    def _send_all(self) -> bool:
        failed: set[str] = set()
        while paths := [path for path in event_files(self._settings) if str(path) not in failed]:
            for path in paths:
                try:
                    with contextlib.suppress(FileNotFoundError):
                        event = read_event(path)
                        if event is not None:
                            self._send_one(path, event, failed)
                except StoreDown as error:
                    self.error = str(error)
                    return False  # nothing else would get through either
        return not failed

    def _send_one(self, path: Path, event: Event, failed: set[str]) -> None:
        """Send one event and remove its file. An event that the store refuses holds up only those that build on it.

        failed: files and conversations of this round; what fails is added. Raises StoreDown.
        """
        about = event["conversation"]
        if event["kind"] != "turn" and about in failed:
            failed.add(str(path))
            return
        # One from before this process, or that failed before, may have reached the store all the same.
        again = path in self._tried or int(path.name[:20]) < STARTED
        try:
            self._tried.add(path)
            self._send(self._settings, event, again)
        except StoreDown:
            raise
        except NotFound as error:
            if event["kind"] == "turn":
                self.error = str(error)
                failed |= {str(path), about}
                return
            # What a rating or a title is about was deleted meanwhile: there is nothing left to do.
        except Exception as error:
            self.error = str(error) if isinstance(error, Phi3Error) else f"A turn can't be saved: {error!r}"
            failed |= {str(path), about}
            return
        remove_event(path)
        self._tried.discard(path)
