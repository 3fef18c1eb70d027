"""The model servers as the gateway reaches them: opened by reference, asked without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from phi3core.clock import SYSTEM, Clock
from phi3core.errors import BadInput, NotFound, ServerError
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.serving.guard import Receive
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool
from phi3core.settings import Settings

from .catalogue import AsyncTTLCache
from .relay import wait_disconnected

if TYPE_CHECKING:
    import aiohttp

_RESOLVED = 2.0  # seconds that a reference's version is remembered: an alias that moved is followed soon enough

T = TypeVar("T")


class Upstream:
    """The servers of a pool, from `start` to `stop`, and the requests that are being passed on to them."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM) -> None:
        self._settings, self._clock = settings, clock
        self._answers: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._session: aiohttp.ClientSession | None = None

    async def start(self, pool: Pool) -> None:
        """Take requests, in the event loop that runs this."""
        import aiohttp

        settings = self._settings
        self._pool, self._loop = pool, asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="gateway")
        self._versions = AsyncTTLCache(lambda ref: self.call(reader.get_version, settings, ref), _RESOLVED, self._clock)
        self._session = aiohttp.ClientSession(
            # A connection of its own for each request: one that is kept may have been closed by the other end.
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    def hang_up(self) -> None:
        """Break off all answers, from any thread or a signal's handler: the app ends and waits for them otherwise."""
        self._stopping = True
        if self._session:
            self._loop.call_soon_threadsafe(lambda: [answer.cancel() for answer in self._answers])

    async def stop(self) -> None:
        """Take no more requests."""
        self.hang_up()
        if self._session:
            await self._session.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function that blocks gives, run in a thread."""
        return await self._loop.run_in_executor(self._threads, function, *arguments)

    def session(self) -> aiohttp.ClientSession:
        """What model servers are asked through. Raises ServerError unless requests are taken."""
        if self._session is None or self._stopping:
            raise ServerError(
                "The app is stopping." if self._stopping else "The app is starting. Try again in a moment."
            )
        return self._session

    def running(self) -> list[ModelServer]:
        """The model servers whose processes live."""
        return self._pool.running()

    async def version(self, reference: str) -> Version:
        """The version that a reference means now. Raises NotFound, StoreError or ServerError."""
        self.session()
        try:
            return await self._versions.get(reference)
        except BadInput as error:  # to a client a malformed reference is a model that does not exist
            raise NotFound(str(error)) from error

    async def server(self, reference: str) -> ModelServer:
        """The server of the version that a reference means now; it may still be loading.

        Raises NotFound, StoreError, Busy or ServerError.
        """
        return await self.call(self._pool.open, await self.version(reference))

    async def run(self, work: Coroutine[Any, Any, None], receive: Receive) -> None:
        """Do this until it is done, or the client has gone, or the app ends."""
        answering = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(wait_disconnected(receive))
        self._answers.add(answering)
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._answers.discard(answering)
            for task in (answering, leaving):
                task.cancel()
            await asyncio.wait({answering, leaving})
        if not answering.cancelled():
            answering.result()
