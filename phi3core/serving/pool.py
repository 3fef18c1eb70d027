"""The model servers of this process: one child per open version, started on demand, watched, stopped when idle.

A thread looks after them: what died by itself is started once more, what hangs is ended, what nobody uses is
stopped, and one spare child is kept that has imported already what every model server needs. Knows nothing of
what is said to a model.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from phi3core.errors import Busy, Phi3Error, ServerError
from phi3core.hashing import folder_size
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import memory
from .handle import ModelServer
from .spawn import CHILD, Child


@dataclass(frozen=True)
class PoolTimeouts:
    """When the pool acts by itself; all in seconds.

    every: between two rounds of its thread, which see at once what has died. health: between two questions to a child
    that has loaded. hung: silence after which a child is ended. A model of somebody else may hold the interpreter
    through a whole prediction, and a machine that swaps is slow; nobody waits longer than a minute for a word.
    again: a second death within this time stays. grace: what was opened so recently is not stopped for its memory,
    because whoever opened it is about to ask.
    """

    every: float = 0.5
    health: float = 5.0
    hung: float = 60.0
    again: float = 300.0
    grace: float = 10.0


class Pool:
    """The model servers of this process, by version.

    spare: keep a child ready for the next version that is opened. available: bytes of memory that are free.
    """

    def __init__(
        self,
        settings: Settings,
        spare: bool = False,
        rules: PoolTimeouts | None = None,
        available: Callable[[], int] = memory.available,
        command: tuple[str, ...] = CHILD,
    ) -> None:
        self._settings, self._rules = settings, rules or PoolTimeouts()
        self._available, self._command = available, command
        self._servers: dict[str, ModelServer] = {}
        self._opening: dict[str, threading.Lock] = {}
        self._restarted: dict[str, float] = {}
        self._keep_spare, self._spare_after = spare, 0.0
        self._spare: Child | None = None
        self._lock = threading.Lock()  # of the tables; held for moments only
        self._room = threading.Lock()  # of the decision who gets the memory
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, version: Version) -> ModelServer:
        """The version's server, started if it is not running. Returns before it has loaded: see ModelServer.status.

        Raises NotFound when its files are gone, Busy when memory is taken by answers that are being written, and
        ServerError when this machine has too little.
        """
        # A version that was deleted and built again under the same number is another one.
        key = f"{version.ref} {version.source}"
        with self._turn(key):  # one process per version, and no version waits for another
            server = self._servers.get(key)
            if server and not self._over(server):
                server.touch()
                return server
            if server:
                server.close()
            return self._start(key, version)

    def running(self) -> list[ModelServer]:
        """The servers whose processes live."""
        return [server for server in self.servers() if server.alive()]

    def servers(self) -> list[ModelServer]:
        """All servers, those that have failed too, in the order in which they were opened."""
        return list(self._table().values())

    def warm(self) -> None:
        """Have a spare child started in the background."""
        with self._lock:
            self._keep_spare = True
            self._watch()

    def close(self) -> None:
        """End every process. The pool opens nothing after."""
        self._closing.set()
        with self._lock:
            servers, spare, self._spare = list(self._servers.values()), self._spare, None
            self._servers.clear()
        for server in servers:
            server.hang_up()  # all at once, then wait for each
        if spare:
            spare.end()
        for server in servers:
            server.end("The app has ended.")
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(10)

    # ---------------------------------------------------------------- opening

    @contextlib.contextmanager
    def _turn(self, key: str) -> Iterator[None]:
        with self._lock:
            turn = self._opening.setdefault(key, threading.Lock())
        with turn:
            yield

    def _table(self) -> dict[str, ModelServer]:
        with self._lock:
            return dict(self._servers)

    @staticmethod
    def _over(server: ModelServer) -> bool:
        if not server.ready and server.alive():
            server.look(1)  # it may have failed to load since anybody looked
        return bool(server.failure())

    def _start(self, key: str, version: Version, again: str = "") -> ModelServer:
        folder = artifacts.local_folder(self._settings, version)
        size = folder_size(folder) if folder else version.size or 0
        need = memory.needed(folder, size, version.wrapper)
        log = self._settings.logs / f"server-{version.name}-{version.version}-{os.getpid()}.log"
        order = {
            "ref": version.ref,
            "names": [version.ref],
            "artifact": str(folder) if folder else None,
            "trusted": version.name in self._settings.trusted,
            "parallel": self._settings.parallel,
            "queue": self._settings.queue,
        }
        with self._room:
            for old in [held for held in self._table() if held.startswith(f"{version.ref} ")]:
                with self._lock:
                    outdated = self._servers.pop(old, None)
                if outdated:
                    outdated.close()
            self._make_room(version, need)
            with self._lock:
                if self._closing.is_set():
                    raise ServerError("The app is stopping: nothing is opened any more.")
                server = ModelServer(version, self._child(log), order, log, size, need, again)
                self._servers[key] = server
                self._watch()
        return server

    def _child(self, log: Path) -> Child:
        spare, self._spare = self._spare, None
        if spare and spare.alive():
            return spare
        try:
            return Child(log, self._command)
        except OSError as error:  # no memory or no process numbers left, a full disk
            raise ServerError(
                f"A model server can't be started: {error}. Close other programs and try again."
            ) from error

    # ---------------------------------------------------------------- memory

    def _make_room(self, version: Version, need: int) -> None:
        """Stop what is idle, least recently used first, until the version fits. Raises Busy or ServerError."""
        # Nothing is stopped for a version that would not fit all the same.
        if self._free() + sum(server.takes for server in self.running()) < need:
            raise self._too_large(version, need)
        for key, _ in sorted(self._table().items(), key=lambda entry: entry[1].used):
            if self._free() >= need:
                return
            self._stop(key, f"It was stopped to make room for {version.ref}. It starts again when it is opened.")
        if self._free() < need:
            raise self._too_large(version, need)

    def _too_large(self, version: Version, need: int) -> Phi3Error:
        free, running = max(0, self._free()), self.running()
        told = (
            f"{version.ref} needs about {memory.format_size(need)} of memory, and {memory.format_size(free)} are free"
        )
        if free + sum(server.takes for server in running) < need:
            return ServerError(f"{told} on this machine. End other programs, or open a smaller version.")
        refs = ", ".join(server.ref for server in running)
        are, its = ("is", "its") if len(running) == 1 else ("are", "their")
        return Busy(f"{told}: {refs} {are} in use. Try again when {its} answers have ended.")

    def _free(self) -> int:
        """Free memory, less what servers that are still loading will yet take."""
        loading = [server for server in self.running() if not server.ready]
        return self._available() - sum(max(0, server.needs - server.memory) for server in loading)

    def _stop(self, key: str, reason: str, idle: float = 0.0) -> bool:
        """Stop a server that nobody uses; False where somebody does, or is just opening it."""
        with self._lock:
            turn = self._opening.setdefault(key, threading.Lock())
        if not turn.acquire(blocking=False):
            return False
        try:
            server = self._servers.get(key)
            if server is None:
                return True
            server.look(2)  # what it does now, not at the last look
            quiet = time.monotonic() - server.used
            in_use = server.alive() and (not server.ready or server.working or server.silent)
            if not server.failure() and (in_use or server.held or quiet < max(idle, self._rules.grace)):
                return False
            server.end(reason)
            with self._lock:
                self._servers.pop(key, None)
            return True
        finally:
            turn.release()

    # ---------------------------------------------------------------- looking after them

    def _watch(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._rounds, name="pool", daemon=True)
            self._thread.start()

    def _rounds(self) -> None:
        while not self._closing.is_set():
            rounds: list[Callable[[], None]] = [
                partial(self._tend, key, server) for key, server in self._table().items()
            ]
            for tend in (*rounds, self._tend_spare):
                try:
                    tend()
                except Exception:  # a bug must not leave all others unwatched
                    traceback.print_exc()
            self._closing.wait(self._rules.every)

    def _tend(self, key: str, server: ModelServer) -> None:
        rules, idle = self._rules, self._settings.idle_minutes * 60
        if server.failure():
            if server.alive():
                server.end()  # what could not be loaded need not hold its memory
            elif server.ready and not server.closed:
                self._revive(key, server)
            return
        if not server.ready or server.silent or time.monotonic() - server.asked >= rules.health:
            server.look(min(2.0, rules.hung / 4))
        if server.silent >= rules.hung:
            server.end(
                f"It stopped answering: nothing for {server.silent:.0f} s, so its process was ended.", patience=0
            )
        elif time.monotonic() - server.used >= idle:
            self._stop(key, f"It was stopped: nobody had used it for {self._settings.idle_minutes:g} minutes.", idle)

    def _revive(self, key: str, dead: ModelServer) -> None:
        """Start what had loaded and then died, once; what dies again soon stays, until somebody opens it."""
        now = time.monotonic()
        if now - self._restarted.get(key, float("-inf")) < self._rules.again:
            return
        with self._turn(key):
            if self._servers.get(key) is not dead or self._closing.is_set():
                return  # it was stopped, or somebody was faster
            self._restarted[key] = now
            with contextlib.suppress(Phi3Error):  # no room, or its files are gone: whoever opens it is told
                self._start(key, dead.version, again=dead.failure().splitlines()[0])

    def _tend_spare(self) -> None:
        """Start the spare while nothing is loading: it would only slow that down."""
        now = time.monotonic()
        if not self._keep_spare or now < self._spare_after or any(not server.ready for server in self.running()):
            return
        with self._lock:
            if self._closing.is_set() or (self._spare and self._spare.alive()):
                return
            log = self._settings.logs / f"server-spare-{os.getpid()}.log"
            died, self._spare_after = self._spare is not None, now + 60  # what fails is not tried all the time
            with contextlib.suppress(ServerError):  # whoever opens a version will be told
                self._spare = self._child(log)
                self._spare_after = now + 60 if died else 0.0


@cache
def pool(settings: Settings) -> Pool:
    """The one pool of this process."""
    return Pool(settings, spare=True)
