"""The model servers of this process: one child per open version, started on demand, watched, stopped when idle.

A thread tends them: a process that died by itself is started once more, one that hangs is ended, one that is not used
is stopped, and one spare child is kept that has imported already what every model server needs. Knows nothing of
what is said to a model.
"""

from __future__ import annotations

import contextlib
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from phi3core.clock import SYSTEM, Clock
from phi3core.errors import Busy, Phi3Error, ServerError
from phi3core.hashing import folder_size
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import memory
from .approval import Approve, approve_none, check_again, may_run
from .handle import ModelServer
from .order import make_order
from .pool_timeouts import PoolTimeouts
from .spawn import Child

DISK = 2_000_000_000  # bytes that a model server may write in all
_SPARE_RETRY = 60.0  # seconds until a spare child is started again where the last one died or could not be started


class Pool:
    """The model servers of this process, by version.

    spare: keep a child ready for the next version that is opened. available: bytes of memory that are free.
    start_child: starts a process with this log. watch: have a thread call `tend`. approve: see approval.py.
    """

    def __init__(
        self,
        settings: Settings,
        spare: bool = False,
        timeouts: PoolTimeouts | None = None,
        available: Callable[[], int] = memory.available,
        start_child: Callable[[Path], Child] = Child,
        clock: Clock = SYSTEM,
        watch: bool = True,
        approve: Approve = approve_none,
    ) -> None:
        self._approve = approve
        self._settings, self._timeouts, self._clock = settings, timeouts or PoolTimeouts(), clock
        self._available, self._start_child = available, start_child
        self._servers: dict[str, ModelServer] = {}
        self._opening: dict[str, threading.Lock] = {}
        self._restarted: dict[str, float] = {}
        self._keep_spare, self._spare_after = spare, 0.0
        self._spare: Child | None = None
        self._lock = threading.Lock()  # of the tables; held for moments only
        self._room = threading.Lock()  # of the decision which server gets the memory
        self._closing = threading.Event()
        self._watch = watch
        self._thread: threading.Thread | None = None

    def open(self, version: Version) -> ModelServer:
        """The version's server, started if it is not running. Returns before it has loaded: see ModelServer.status.

        Raises NotFound when its files are gone, Forbidden where its code is not trusted, Busy when memory is taken by
        answers that are being written, and ServerError when this machine has too little.
        """
        # A version that was deleted and built again under the same number is another one.
        key = f"{version.ref} {version.source}"
        with self._turn(key):  # one process per version, and no version waits for another
            if server := self._servers.get(key):
                if not server.ready and server.alive():
                    server.check_health(1)  # it may have failed to load since its last check
                if not server.failure():
                    check_again(self._settings, server, self._approve)
                    server.mark_used()
                    return server
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
            self._start_watching()

    def close(self) -> None:
        """End every process. The pool opens nothing after."""
        self._closing.set()
        with self._lock:
            servers, spare, self._spare = list(self._servers.values()), self._spare, None
            self._servers.clear()
        for server in servers:
            server.request_exit()  # all at once, then wait for each
        if spare:
            spare.end()
        for server in servers:
            server.end("The app has ended.")
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(10)

    # ---------------------------------------------------------------- opening

    def _turn(self, key: str) -> threading.Lock:
        with self._lock:
            return self._opening.setdefault(key, threading.Lock())

    def _table(self) -> dict[str, ModelServer]:
        with self._lock:
            return dict(self._servers)

    def _start(self, key: str, version: Version, restart_reason: str = "") -> ModelServer:
        folder = artifacts.local_folder(self._settings, version)
        code = folder is not None and may_run(self._settings, version, folder, self._approve)
        size = folder_size(folder) if folder else version.size or 0
        need = memory.needed(folder, size, version.wrapper)
        log = self._settings.logs / f"server-{version.name}-{version.version}-{os.getpid()}.log"
        order = make_order(self._settings, version)
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
                child = self._take_child(log)
                server = ModelServer(version, child, order, log, size, need, restart_reason, self._clock)
                self._servers[key] = server
                self._start_watching()
        if folder:
            server.load(folder, code)
        else:
            threading.Thread(target=self._fetch, args=(server,), daemon=True).start()
        return server

    def _fetch(self, server: ModelServer) -> None:
        """Bring the version's files to this machine: the server has neither the store's address nor a connection."""
        try:
            folder = artifacts.download(self._settings, server.version)
            server.load(folder, may_run(self._settings, server.version, folder, self._approve))
        except Phi3Error as error:
            server.end(str(error))
        except Exception as error:
            traceback.print_exc()
            server.end(f"Its files can't be had: {error!r}.")

    def _take_child(self, log: Path) -> Child:
        spare, self._spare = self._spare, None
        if spare and spare.alive():
            return spare
        try:
            return self._start_child(log)
        except OSError as error:  # no memory or no process numbers left, a full disk
            sentence = f"A model server can't be started: {error}. Close other programs and try again."
            raise ServerError(sentence) from error

    # ---------------------------------------------------------------- memory

    def _make_room(self, version: Version, need: int) -> None:
        """Stop what is idle, least recently used first, until the version fits. Raises Busy or ServerError."""
        # Nothing is stopped for a version that would not fit all the same.
        if self._free() + sum(server.memory_taken for server in self.running()) < need:
            raise self._too_large(version, need)
        for key, _ in sorted(self._table().items(), key=lambda entry: entry[1].used_at):
            if self._free() >= need:
                return
            self._stop(key, f"It was stopped to make room for {version.ref}. It starts again when it is opened.")
        if self._free() < need:
            raise self._too_large(version, need)

    def _too_large(self, version: Version, need: int) -> Phi3Error:
        free, running = max(0, self._free()), self.running()
        needs = f"{version.ref} needs about {memory.format_size(need)} of memory"
        needs += f", and {memory.format_size(free)} are free"
        if free + sum(server.memory_taken for server in running) < need:
            return ServerError(f"{needs} on this machine. End other programs, or open a smaller version.")
        refs = ", ".join(server.ref for server in running)
        are, its = ("is", "its") if len(running) == 1 else ("are", "their")
        return Busy(f"{needs}: {refs} {are} in use. Try again when {its} answers have ended.")

    def _free(self) -> int:
        """Free memory, less what servers that are still loading will yet take (bytes)."""
        loading = [server for server in self.running() if not server.ready]
        return self._available() - sum(max(0, server.memory_needed - server.memory) for server in loading)

    def _stop(self, key: str, reason: str, idle: float = 0.0) -> bool:
        """Stop a server that is not used; False where it is, or is just being opened."""
        turn = self._turn(key)
        if not turn.acquire(blocking=False):
            return False
        try:
            server = self._servers.get(key)
            if server is None:
                return True
            server.check_health(2)  # what it does now, not at the last check
            quiet = self._clock.now() - server.used_at
            in_use = server.alive() and (not server.ready or server.active_requests or server.seconds_silent)
            if not server.failure() and (in_use or server.held or quiet < max(idle, self._timeouts.grace)):
                return False
            server.end(reason)
            with self._lock:
                self._servers.pop(key, None)
            return True
        finally:
            turn.release()

    # ---------------------------------------------------------------- tending

    def tend(self) -> None:
        """One round: start again, end and stop what is due, and keep the spare child."""
        for key, server in self._table().items():
            with _printed_errors():
                self._tend(key, server)
        with _printed_errors():
            self._tend_spare()

    def _start_watching(self) -> None:
        if self._watch and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pool", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            self.tend()
            self._clock.wait(self._closing, self._timeouts.poll)

    def _tend(self, key: str, server: ModelServer) -> None:
        timeouts, idle = self._timeouts, self._settings.idle_minutes * 60
        if server.failure():
            if server.alive():
                server.end()  # what could not be loaded need not hold its memory
            elif server.ready and not server.closed:
                self._restart(key, server)
            return
        if not server.ready or server.seconds_silent or self._clock.now() - server.asked_at >= timeouts.health:
            server.check_health(min(2.0, timeouts.hung / 4))
        if excess := server.disk_excess(DISK, timeouts.health):
            server.end(f"{excess}, so its process was ended.")
        elif (silent := server.seconds_silent) >= timeouts.hung:
            server.end(f"It stopped answering: nothing for {silent:.0f} s, so its process was ended.", patience=0)
        elif self._clock.now() - server.used_at >= idle:
            self._stop(key, f"It was stopped: nobody had used it for {self._settings.idle_minutes:g} minutes.", idle)

    def _restart(self, key: str, dead: ModelServer) -> None:
        """Start again, once, a server that had loaded and then died; one that dies again soon stays failed."""
        now = self._clock.now()
        if now - self._restarted.get(key, float("-inf")) < self._timeouts.restart:
            return
        with self._turn(key):
            if self._servers.get(key) is not dead or self._closing.is_set():
                return  # it was stopped, or opened again meanwhile
            self._restarted[key] = now
            with contextlib.suppress(Phi3Error):  # no room, or its files are gone: the next `open` says so
                self._start(key, dead.version, restart_reason=dead.failure().splitlines()[0])

    def _tend_spare(self) -> None:
        """Start the spare while nothing is loading: it would only slow that down."""
        now = self._clock.now()
        if not self._keep_spare or now < self._spare_after or any(not server.ready for server in self.running()):
            return
        with self._lock:
            if self._closing.is_set() or (self._spare and self._spare.alive()):
                return
            log = self._settings.logs / f"server-spare-{os.getpid()}.log"
            died, self._spare_after = self._spare is not None, now + _SPARE_RETRY  # a failure is not repeated at once
            with contextlib.suppress(ServerError):  # the next `open` says so
                self._spare = self._take_child(log)
                self._spare_after = now + _SPARE_RETRY if died else 0.0


@contextlib.contextmanager
def _printed_errors() -> Iterator[None]:
    try:
        yield
    except Exception:  # a bug with one server must not leave all others unwatched
        traceback.print_exc()


@cache
def pool(settings: Settings, approve: Approve = approve_none) -> Pool:
    """The one pool of this process. approve: see Pool."""
    return Pool(settings, spare=True, approve=approve)
