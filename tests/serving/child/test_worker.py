"""The thread that runs the model: turns, the queue, what is given up, and what goes wrong in a model's own code."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from itertools import pairwise
from typing import Any

import pytest

from phi3core.engine.interface import Done, End, Engine, Options, Piece, Prompt
from phi3core.errors import BadInput, Busy, ServerError, SourceError
from phi3core.serving.child import worker as worker_module
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


# ---------------------------------------------------------------- turns


def test_an_answer_arrives_whole_and_in_order() -> None:
    async def scene() -> None:
        worker = await ready(Turns)
        items = [item async for some in worker.answer("a read 2 say 3", OPTIONS, 0) for item in some]
        assert items == [Piece("a1 "), Piece("a2 "), Piece("a3 "), End("stop"), Done(2, 3)]

    run(scene())


def test_answers_take_turns_token_by_token() -> None:
    async def scene() -> None:
        engine = Turns()
        engine.go.clear()
        worker = await ready(lambda: engine)
        asked = [ask(worker, f"{name} read 0 say 10") for name in "abc"]
        await when(lambda: worker.running + worker.waiting == 3)
        engine.go.set()
        texts = await asyncio.gather(*asked)

        assert texts[1] == "".join(f"b{number} " for number in range(1, 11))
        steps = engine.log
        first = min(steps.index("b"), steps.index("c"))
        together = steps[max(first, steps.index("c")) : 25]
        assert all(len(set(together[at : at + 3])) == 3 for at in range(0, 18, 3)), steps

    run(scene())


def test_a_long_prompt_does_not_keep_anothers_tokens_waiting() -> None:
    async def scene() -> None:
        engine = Turns(pause=0.002)
        worker = await ready(lambda: engine)
        long = ask(worker, "long read 60 say 1")
        await when(lambda: engine.log.count("long") > 2)
        assert await ask(worker, "quick read 0 say 10") == "".join(f"quick{number} " for number in range(1, 11))

        assert not long.done()
        spoken = [at for at, name in enumerate(engine.log) if name == "quick"]
        begun, ended = spoken[0], spoken[-1]
        assert engine.log[begun:ended].count("long") <= 10
        await long

    run(scene())


def test_several_long_prompts_keep_anothers_tokens_waiting_no_longer_than_one_does() -> None:
    async def scene() -> None:
        engine = Turns()
        engine.go.clear()
        worker = await ready(lambda: engine)
        asked = [ask(worker, "talker read 0 say 8")]
        await when(lambda: worker.running == 1)
        asked += [ask(worker, f"{name} read 4 say 1") for name in "xyz"]
        await when(lambda: worker.running + worker.waiting == 4)
        engine.go.set()
        await asyncio.gather(*asked)

        steps = [name for name in engine.log if "ended" not in name]
        spoken = [at for at, name in enumerate(steps) if name == "talker"]
        assert all(after - before <= 2 for before, after in pairwise(spoken[1:])), steps
        assert {"x", "y", "z"} == set([name for name in steps if name != "talker"][:6])  # they take turns

    run(scene())


def test_what_the_next_turn_begins_with_is_read_while_nobody_asks() -> None:
    async def scene() -> None:
        engine = Turns()
        worker = await ready(lambda: engine)
        assert await ask(worker, "a read 0 say 1") == "a1 "
        worker.read_ahead("next 3", OPTIONS)
        await when(lambda: "next ended" in engine.log)

        assert engine.log == ["a", "a ended", "next", "next", "next", "next ended"]
        assert (worker.running, worker.waiting) == (0, 0)

    run(scene())


def test_who_asks_again_at_once_does_not_wait_for_what_is_read_ahead() -> None:
    async def scene() -> None:
        engine = Turns()
        worker = await ready(lambda: engine)
        worker.read_ahead("next 3", OPTIONS)
        assert await ask(worker, "a read 1 say 1") == "a1 "
        await asyncio.sleep(0.5)

        assert engine.log == ["a", "a", "a ended"]

    run(scene())


def test_a_request_puts_an_end_to_reading_ahead_before_it_is_read_itself() -> None:
    async def scene() -> None:
        engine = Turns(pause=0.002)
        worker = await ready(lambda: engine)
        worker.read_ahead("long 1000", OPTIONS)
        worker.read_ahead("other 1000", OPTIONS)
        await when(lambda: engine.log.count("long") > 2)
        assert await ask(worker, "a read 1 say 2") == "a1 a2 "
        await asyncio.sleep(0.05)

        assert engine.log[-5:] == ["long ended", "a", "a", "a", "a ended"]

    run(scene())


def test_reading_ahead_that_fails_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    async def scene() -> None:
        engine = Turns()
        worker = await ready(lambda: engine)
        worker.read_ahead("broken 3", OPTIONS)
        await when(lambda: "broken ended" in engine.log)
        assert await ask(worker, "a read 1 say 2") == "a1 a2 "

    run(scene())
    assert "the runtime broke" in capfd.readouterr().err


def test_no_more_is_read_ahead_than_answers_are_written_at_once() -> None:
    async def scene() -> None:
        engine = Turns()
        engine.go.clear()
        worker = await ready(lambda: engine, parallel=2)
        for name in "abcde":
            worker.read_ahead(f"{name} 1", OPTIONS)
        engine.go.set()
        await when(lambda: engine.log.count("b ended") == 1)

        assert engine.log == ["a", "a ended", "b", "b ended"]

    run(scene())


def test_no_more_answers_than_agreed_run_at_once_and_the_rest_come_in_order() -> None:
    async def scene() -> None:
        engine = Turns(pause=0.001)
        worker = await ready(lambda: engine, parallel=2)
        asked = [ask(worker, f"{name} read 0 say 5") for name in "abcdef"]
        most = 0
        while not all(task.done() for task in asked):
            most = max(most, worker.running)
            await asyncio.sleep(0.001)

        assert most == 2
        assert [engine.log.index(name) for name in "abcdef"] == sorted(engine.log.index(name) for name in "abcdef")
        assert (worker.running, worker.waiting) == (0, 0)

    run(scene())


def test_an_answer_waits_until_there_is_memory_for_it() -> None:
    async def scene() -> None:
        engine = Limited(room=2)
        engine.go.clear()
        worker = await ready(lambda: engine)
        asked = [ask(worker, f"{name} read 0 say 4", need=10) for name in "abcdef"]
        await when(lambda: worker.running + worker.waiting == 6)
        engine.go.set()
        await asyncio.gather(*asked)

        assert engine.most == 2

    run(scene())


def test_what_never_fits_is_answered_when_nothing_else_runs() -> None:
    async def scene() -> None:
        worker = await ready(lambda: Limited(room=0))
        assert await ask(worker, "a read 0 say 1", need=10**9) == "a1 "

    run(scene())


def test_the_model_runs_in_one_thread_that_is_not_the_event_loops() -> None:
    async def scene() -> None:
        engine = Turns()
        worker = await ready(lambda: engine)
        await ask(worker, "a read 0 say 1")
        called = await worker.call(lambda: threading.current_thread().name)

        assert engine.thread == called != threading.current_thread().name

    run(scene())


def test_what_has_come_meanwhile_is_told_together() -> None:
    async def scene() -> None:
        worker = await ready(Turns)
        batches = []
        async for items in worker.answer("a read 0 say 20", OPTIONS, 0):
            batches.append(items)
            await asyncio.sleep(0.05)

        assert len(batches) < 20
        assert sum(len(items) for items in batches) == 22

    run(scene())


# ---------------------------------------------------------------- the queue


def test_when_too_many_wait_the_next_one_is_told_to_come_back() -> None:
    async def scene() -> None:
        engine = Turns()
        engine.go.clear()
        worker = await ready(lambda: engine, parallel=1, queue=2)
        asked = []
        for name in "abc":
            worker.check_queue()
            asked.append(ask(worker, f"{name} read 0 say 1"))
            await when(lambda: (worker.running, worker.waiting) == (1, len(asked) - 1))

        with pytest.raises(Busy, match="2 requests are waiting already"):
            worker.check_queue()
        engine.go.set()
        await asyncio.gather(*asked)
        worker.check_queue()

    run(scene())


# ---------------------------------------------------------------- giving up


def test_an_answer_that_is_given_up_stops_within_a_token() -> None:
    async def scene() -> None:
        engine = Turns(pause=0.01)
        worker = await ready(lambda: engine)
        answer = worker.answer("a read 0 say 1000", OPTIONS, 0)
        await anext(answer)
        said = engine.log.count("a")
        await answer.aclose()  # type: ignore[attr-defined]
        await when(lambda: worker.running == 0)

        assert engine.log.count("a") <= said + 2
        assert engine.log[-1] == "a ended"

    run(scene())


def test_an_answer_that_is_given_up_while_it_waits_is_never_begun() -> None:
    async def scene() -> None:
        engine = Turns()
        engine.go.clear()
        worker = await ready(lambda: engine, parallel=1)
        first, second = ask(worker, "a read 0 say 2"), ask(worker, "b read 0 say 2")
        await when(lambda: worker.waiting == 1)
        second.cancel()
        await when(lambda: worker.waiting == 0)
        engine.go.set()

        assert await first == "a1 a2 "
        assert not [step for step in engine.log if step.startswith("b")]

    run(scene())


def test_an_answer_that_is_given_up_frees_its_place_for_the_next() -> None:
    async def scene() -> None:
        engine = Turns(pause=0.005)
        worker = await ready(lambda: engine, parallel=1)
        first, second = ask(worker, "a read 0 say 1000"), ask(worker, "b read 0 say 2")
        await when(lambda: engine.log.count("a") > 2)
        first.cancel()

        assert await second == "b1 b2 "

    run(scene())


# ---------------------------------------------------------------- a model that hangs


class Stuck(Turns):
    """The step that says "stuck" does not return until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go, self.stuck = threading.Event(), threading.Event()

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        if prompt != "stuck":
            yield from super().stream(prompt, options, stopped)
            return
        yield Piece("well")
        self.stuck.set()
        self.let_go.wait(10)
        yield End("stop")
        yield Done(1, 1)


def test_a_model_that_never_comes_back_from_an_answer_that_was_given_up_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "_PATIENCE", 0.1)

    async def scene() -> None:
        engine, hung = Stuck(), threading.Event()
        worker = await ready(lambda: engine, on_hung=hung.set)
        asked = ask(worker, "stuck")
        await when(engine.stuck.is_set)
        await asyncio.sleep(0.3)
        assert not hung.is_set(), "somebody still waits for it"
        asked.cancel()
        try:
            await when(hung.is_set)
        finally:
            engine.let_go.set()

    run(scene())


def test_a_model_that_comes_back_in_time_is_not_called_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_PATIENCE", 0.2)

    async def scene() -> None:
        engine, hung = Stuck(), threading.Event()
        worker = await ready(lambda: engine, on_hung=hung.set)
        asked = ask(worker, "stuck")
        await when(engine.stuck.is_set)
        asked.cancel()
        await asyncio.sleep(0.05)
        engine.let_go.set()
        await asyncio.sleep(0.3)

        assert not hung.is_set()
        assert await ask(worker, "a read 0 say 1") == "a1 "

    run(scene())


def test_an_answer_that_ends_by_itself_is_never_called_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_PATIENCE", 0.02)

    async def scene() -> None:
        hung = threading.Event()
        worker = await ready(lambda: Turns(pause=0.005), on_hung=hung.set)
        await asyncio.gather(*(ask(worker, f"{name} read 3 say 10") for name in "abc"))
        await asyncio.sleep(0.1)

        assert not hung.is_set()

    run(scene())


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SourceError("The model can't be loaded: damaged."), "The model can't be loaded: damaged."),
        (RuntimeError("no such operator"), "The model can't be loaded: RuntimeError: no such operator"),
        (MemoryError(), "The model can't be loaded: MemoryError"),
        (SystemExit(3), "The model can't be loaded: SystemExit: 3"),
        (KeyboardInterrupt(), "The model can't be loaded: KeyboardInterrupt"),
    ],
)
def test_a_model_that_cant_be_loaded_says_why_to_whoever_asks(error: BaseException, told: str) -> None:
    def load() -> Engine:
        raise error

    async def scene() -> None:
        worker = await ready(load)
        assert (worker.status, worker.error) == ("failed", worker.error)
        assert worker.error.startswith(told)
        with pytest.raises(ServerError, match="can't be loaded"):
            _ = worker.engine
        with pytest.raises(ServerError, match="can't be loaded"):
            await ask(worker, "a read 0 say 1")

    run(scene())


def test_while_a_model_loads_it_says_so() -> None:
    async def scene() -> None:
        go = threading.Event()

        def load() -> Engine:
            go.wait(10)
            return Turns()

        worker = Worker(load, 1, 1)
        worker.start()
        assert worker.status == "loading"
        with pytest.raises(ServerError, match="still loading"):
            _ = worker.engine
        go.set()
        await when(lambda: worker.status == "ready")

    run(scene())


class Breaking(Turns):
    """Raises after the first word, where the prompt is "break"."""

    error: BaseException

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        if prompt != "break":
            yield from super().stream(prompt, options, stopped)
            return
        yield Piece("well")
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (RuntimeError("broke"), RuntimeError, "broke"),
        (BadInput("No."), BadInput, "No."),
        (MemoryError("full"), MemoryError, "full"),
        (SystemExit(1), ServerError, "tried to end its process .SystemExit: 1"),
        (KeyboardInterrupt(), ServerError, "tried to end its process .KeyboardInterrupt"),
        (GeneratorExit(), ServerError, "tried to end its process"),
        (StopIteration("x"), RuntimeError, "StopIteration"),
        (asyncio.CancelledError(), ServerError, "tried to end its process"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_in_the_models_code_fails_its_own_answer_only(
    error: BaseException, kind: type[Exception], told: str
) -> None:
    async def scene() -> None:
        engine = Breaking(pause=0.002)
        engine.error = error
        worker = await ready(lambda: engine)
        other = ask(worker, "other read 0 say 20")
        answer = worker.answer("break", OPTIONS, 0)
        assert await anext(answer) == [Piece("well")]
        with pytest.raises(kind, match=told):
            await anext(answer)

        assert (await other).endswith("other20 ")
        assert await ask(worker, "a read 0 say 2") == "a1 a2 "

    run(scene())


def test_an_engine_that_just_ends_is_an_error_and_not_silence() -> None:
    class Silent(Turns):
        def stream(
            self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
        ) -> Iterator[Piece | End | Done | None]:
            yield Piece("well")

    async def scene() -> None:
        worker = await ready(Silent)
        with pytest.raises(ServerError):
            await asyncio.wait_for(ask(worker, "a"), 3)

    run(scene())


def test_work_in_the_engines_thread_gives_its_result_or_its_error() -> None:
    def fails() -> None:
        raise BadInput("No.")

    def ends() -> None:
        raise SystemExit(1)

    async def scene() -> None:
        worker = await ready(Turns)
        assert await worker.call(lambda: {"a": 1}) == {"a": 1}
        assert await worker.call(lambda: None) is None
        with pytest.raises(BadInput, match="No"):
            await worker.call(fails)
        with pytest.raises(ServerError, match="tried to end its process"):
            await worker.call(ends)
        assert await worker.call(lambda: 2) == 2

    run(scene())


def test_work_in_the_engines_thread_takes_its_turn_between_answers() -> None:
    async def scene() -> None:
        engine = Turns(pause=0.002)
        worker = await ready(lambda: engine)
        long = ask(worker, "long read 0 say 100")
        await when(lambda: engine.log.count("long") > 2)
        assert await worker.call(lambda: 1) == 1
        assert not long.done()
        await long

    run(scene())
