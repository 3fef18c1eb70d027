"""An engine whose prompts say what work they are, and a worker that runs it, for tests of turns."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any

from phi3core.engine.interface import Done, End, Engine, Options, Piece, Prompt
from phi3core.serving.child.worker import Item, Worker
from tests.support.fakes import FakeEngine

OPTIONS = Options(max_tokens=20)


class Turns(FakeEngine):
    """Each prompt names its work: "a read 5 say 3" takes five steps to read and three to answer, told in `log`."""

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__(pause=pause)
        self.log: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.thread = ""

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        assert isinstance(prompt, str)
        self.thread = threading.current_thread().name
        name, _, reads, _, says = prompt.split()
        said = 0
        try:
            for step in range(int(reads) + int(says)):
                if stopped():
                    self.log.append(f"{name} stopped")
                    break
                self.go.wait(10)
                time.sleep(self.pause)
                self.log.append(name)
                if step < int(reads):
                    yield None
                else:
                    said += 1
                    yield Piece(f"{name}{said} ")
            yield End("stop")
            yield Done(int(reads), said)
        finally:
            self.log.append(f"{name} ended")

    def read_ahead(self, prompt: Prompt, options: Options) -> Generator[None, None, None]:
        assert isinstance(prompt, str)
        name, steps = prompt.split()
        try:
            for _ in range(int(steps)):
                if name == "broken":
                    raise RuntimeError("the runtime broke")
                self.go.wait(10)
                time.sleep(self.pause)
                self.log.append(name)
                yield
        finally:
            self.log.append(f"{name} ended")


class Limited(Turns):
    """Has memory for so many answers at once, as an engine that counts what has begun."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.begun, self.most = room, 0, 0

    def fits(self, tokens: int) -> bool:
        return self.begun < self.room

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        self.begun += 1
        self.most = max(self.most, self.begun)
        try:
            yield from super().stream(prompt, options, stopped)
        finally:
            self.begun -= 1


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 20))


async def ready(load: Callable[[], Engine], parallel: int = 8, queue: int = 32, **options: Any) -> Worker:
    worker = Worker(load, parallel, queue, **options)
    worker.start()
    await when(lambda: worker.status != "loading")
    return worker


async def when(condition: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not true after {seconds:.0f} s"
        await asyncio.sleep(0.005)


async def heard(answer: AsyncIterator[list[Item]]) -> str:
    """All text of an answer, which is closed whatever becomes of it."""
    try:
        return "".join([item.text async for items in answer for item in items if isinstance(item, Piece)])
    finally:
        await answer.aclose()  # type: ignore[attr-defined]


def ask(worker: Worker, prompt: str, need: int = 0) -> asyncio.Task[str]:
    return asyncio.ensure_future(heard(worker.answer(prompt, OPTIONS, need)))
