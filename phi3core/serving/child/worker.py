"""The one thread of a model server that runs the model: it loads it, then takes turns between the answers.

Every answer that is running gets a piece of work in turn, a token or a piece of its prompt, so that none waits for
another to end. Of those that read their prompts it is one in each round, for a piece takes far longer than a token.
While there is no request, it reads what the next turns will begin with. The event loop only ever waits for results of
this thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

from phi3core.clock import SYSTEM, Clock
from phi3core.engine.interface import Done, End, Engine, Options, Piece, Prompt
from phi3core.errors import BadInput, Busy, NotReady, Phi3Error, ServerError

Item = Piece | End | Done
# A model that does not come back for so long after its answer was given up never will.
HUNG_AFTER = 30.0  # seconds
# A program that asks again at once is not kept waiting by what is read ahead; a person takes longer.
READ_AHEAD_DELAY = 0.3  # seconds
_NICE = 1


class Task:
    """Work for the thread, and the queue in which its results arrive in the event loop.

    reads_on: it goes on to read after its first result.
    """

    def __init__(self, need: int, make: Callable[[Task], Iterator[Any]], reads_on: bool = False) -> None:
        self.need, self._make, self._reads_on = need, make, reads_on
        self.over = threading.Event()  # its results are not wanted any more
        self.finished = threading.Event()  # the thread has ended it
        self.reading = True  # until its first result, or its end
        self.results: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._steps: Iterator[Any] | None = None
        self._ended = False

    def step(self) -> bool:
        """Do one piece of work and send its result. False when there is no more."""
        try:
            if self._steps is None:
                if self.over.is_set():
                    return False
                self._steps = self._make(self)
            item = next(self._steps)
        except StopIteration:
            if not self._ended:
                self._send(ServerError("The model's answer has no end: its code stopped before it said so."))
            return False
        except BaseException as error:  # a model may raise anything, SystemExit too: it fails this answer alone
            if not isinstance(error, BadInput):
                traceback.print_exception(error)  # for the model's author, in the server's log
            self._send(error)
            return False
        if item is not None:
            self.reading = self._reads_on
            self._ended = isinstance(item, Done | tuple)
            self._send(item)
        return True

    def _send(self, item: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: there is no reader
            self._loop.call_soon_threadsafe(self.results.put_nowait, item)


class AnswerStream:
    """What the engine gives, as it comes, ending with Done. Closing it stops the engine within a token."""

    def __init__(self, task: Task, give_up: Callable[[Task], None]) -> None:
        self._task, self._give_up = task, give_up
        self._over: BaseException | None = None

    def __aiter__(self) -> AnswerStream:
        return self

    async def __anext__(self) -> list[Item]:
        if self._over:
            raise self._over
        results = self._task.results
        items = [await results.get()]
        while not results.empty():  # what has come meanwhile is sent on together
            items.append(results.get_nowait())
        if isinstance(items[-1], BaseException):
            self._over = _as_exception(items.pop())
            return items if items else await anext(self)
        if isinstance(items[-1], Done):
            self._over = StopAsyncIteration()
        return items

    async def aclose(self) -> None:
        if not self._task.over.is_set():
            self._give_up(self._task)


class Worker:
    """The thread and its engine. `status` is loading, ready or failed; `error` says why it failed.

    parallel: how many answers are written at once; queue: how many may wait. on_hung: called, in a thread, when the
    model does not come back from an answer that was given up.
    """

    def __init__(
        self,
        load: Callable[[], Engine],
        parallel: int,
        queue: int,
        on_hung: Callable[[], object] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.status, self.error = "loading", ""
        self.parallel = parallel
        self._load, self._queue, self._on_hung = load, queue, on_hung
        self._clock = clock
        self._engine: Engine | None = None
        self._waiting: deque[Task] = deque()
        self._running: list[Task] = []
        self._ahead: deque[Generator[None, None, None]] = deque()
        self._ahead_from = 0.0
        self._lock = threading.Lock()  # of what waits and what is read ahead
        self._work_came = threading.Event()
        self._steps = 0

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def engine(self) -> Engine:
        """Raises NotReady while there is none."""
        if self._engine is None:
            raise NotReady(self.error or "The model is still loading. Try again in a moment.")
        return self._engine

    def start(self) -> None:
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def check_queue(self) -> None:
        """Raise Busy when no more requests can wait."""
        if len(self._running) + len(self._waiting) >= self.parallel + self._queue:
            raise Busy(f"{len(self._waiting)} requests are waiting already. Try again in a moment.")

    def answer(self, prompt: Prompt, options: Options, need: int) -> AnswerStream:
        """Ask the engine. Raises Busy when no more requests can wait; close the answer whatever becomes of it."""
        engine = self.engine
        return self._ask(Task(need, lambda task: engine.stream(prompt, options, task.over.is_set)))

    def echo(self, prompts: list[Prompt], options: Options, need: int) -> AnswerStream:
        """The same for several prompts together, each answer beginning with its own. need: of the longest."""
        engine = self.engine
        return self._ask(Task(need, lambda task: engine.echo(prompts, options, task.over.is_set), reads_on=True))

    def _ask(self, task: Task) -> AnswerStream:
        self._submit(task)
        return AnswerStream(task, self._give_up)

    def read_ahead(self, prompt: Prompt, options: Options) -> None:
        """Have this read once there was no request for a moment; the next request puts an end to it."""
        with self._lock:
            if len(self._ahead) < self.parallel:
                self._ahead.append(self.engine.read_ahead(prompt, options))
                self._ahead_from = self._clock.now() + READ_AHEAD_DELAY
                self._work_came.set()

    async def call(self, work: Callable[[], Any]) -> Any:
        """The result of some work in the engine's thread. Raises Busy as `answer` does."""

        def steps(_: Task) -> Iterator[Any]:
            yield (work(),)

        task = Task(0, steps)
        self._submit(task)
        try:
            result = await task.results.get()
        finally:
            self._give_up(task)
        if isinstance(result, BaseException):
            raise _as_exception(result)
        return result[0]

    def _submit(self, task: Task) -> None:
        with self._lock:
            self.check_queue()  # here, because many may ask at the same moment
            self._waiting.append(task)
            self._work_came.set()

    def _give_up(self, task: Task) -> None:
        task.over.set()
        with self._lock:
            if task in self._waiting:
                self._waiting.remove(task)
        if task in self._running and self._on_hung:
            threading.Thread(target=self._check_hung, args=(task, self._steps, self._on_hung), daemon=True).start()

    def _check_hung(self, task: Task, steps: int, on_hung: Callable[[], object]) -> None:
        """Wait for the end of a task that was given up; steps: how many the thread had done then."""
        if not self._clock.wait(task.finished, HUNG_AFTER) and self._steps == steps:
            on_hung()

    def _run(self) -> None:
        if sys.platform == "linux":
            # There a thread has a priority of its own, and the threads that the runtime starts from it inherit it: the
            # event loop and the client get their turn at once, and tokens come evenly.
            os.nice(_NICE)
        try:
            self._engine = self._load()
            self.status = "ready"
        except Phi3Error as error:
            self.status, self.error = "failed", str(error)
        except BaseException as error:  # a model's own code may raise anything while it is loaded
            self.status, self.error = "failed", f"The model can't be loaded: {type(error).__name__}: {error}"
        if self._engine is None:
            print(self.error, file=sys.stderr, flush=True)
            return
        while True:
            self._admit(self._engine)
            if not self._running and self._ahead:  # neither, where what came was given up at once
                self._step_ahead()
            for task in self._round():
                more = task.step()
                self._steps += 1
                if not more:
                    self._running.remove(task)
                    task.finished.set()

    def _round(self) -> list[Task]:
        """All that write, and one of those that read: it goes to the end, so that the next round is another's."""
        reading = next((task for task in self._running if task.reading), None)
        writing = [task for task in self._running if not task.reading]
        if reading is None:
            return writing
        self._running.remove(reading)
        self._running.append(reading)
        return [*writing, reading]

    def _admit(self, engine: Engine) -> None:
        """Wait for work, and let in what there is room for, in the order in which it came."""
        self._wait_for_work()
        with self._lock:
            if self._waiting:
                while self._ahead:  # before anything else is read: a later turn's reading must not be rewound for it
                    self._ahead.popleft().close()
            # One at a time: it takes its memory in its first step, and only then is known what is left.
            if self._waiting and len(self._running) < self.parallel:
                if self._running and not engine.fits(self._waiting[0].need):
                    return
                self._running.append(self._waiting.popleft())

    def _wait_for_work(self) -> None:
        while not self._running and not self._waiting:
            delay = self._ahead_from - self._clock.now()
            if self._ahead and delay <= 0:
                return
            self._clock.wait(self._work_came, delay if self._ahead else None)
            self._work_came.clear()

    def _step_ahead(self) -> None:
        reading = self._ahead[0]
        try:
            next(reading)
            return
        except StopIteration:
            pass
        except BaseException as error:  # no request waits for it: the next turn reads the same and will fail itself
            traceback.print_exception(error)
        with self._lock:
            self._ahead.remove(reading)


def _as_exception(error: BaseException) -> Exception:
    """SystemExit and its like must not end the event loop that raises them."""
    if isinstance(error, Exception):
        return error
    return ServerError(f"The model's code tried to end its process ({type(error).__name__}: {error}).")
