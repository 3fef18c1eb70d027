"""A model that hangs, and what goes wrong in a model's own code: it fails its own answer alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from phi3core.engine.interface import Done, End, Engine, Options, Piece, Prompt
from phi3core.errors import BadInput, ServerError, SourceError
from phi3core.serving.child.worker import HUNG_AFTER, Worker
from tests.support.clock import ManualClock
from tests.support.turns import OPTIONS, Turns, ask, ready, run, when

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


def test_a_model_that_never_comes_back_from_an_answer_that_was_given_up_is_told() -> None:
    async def scene() -> None:
        engine, hung, clock = Stuck(), threading.Event(), ManualClock()
        worker = await ready(lambda: engine, on_hung=hung.set, clock=clock)
        asked = ask(worker, "stuck")
        await when(engine.stuck.is_set)
        clock.advance(10 * HUNG_AFTER)
        assert clock.waits == 0, "its answer is still wanted"
        asked.cancel()
        try:
            await when(lambda: clock.waits == 1)
            clock.advance(HUNG_AFTER - 1)
            await asyncio.sleep(0.02)
            assert not hung.is_set()
            clock.advance(1)
            await when(hung.is_set)
        finally:
            engine.let_go.set()

    run(scene())


def test_a_model_that_comes_back_in_time_is_not_called_hung() -> None:
    async def scene() -> None:
        engine, hung, clock = Stuck(), threading.Event(), ManualClock()
        worker = await ready(lambda: engine, on_hung=hung.set, clock=clock)
        asked = ask(worker, "stuck")
        await when(engine.stuck.is_set)
        asked.cancel()
        await when(lambda: clock.waits == 1)
        engine.let_go.set()
        await when(lambda: clock.waits == 0)
        clock.advance(2 * HUNG_AFTER)

        assert not hung.is_set()
        assert await ask(worker, "a read 0 say 1") == "a1 "

    run(scene())


def test_an_answer_that_ends_by_itself_is_never_called_hung() -> None:
    async def scene() -> None:
        hung, clock = threading.Event(), ManualClock()
        worker = await ready(lambda: Turns(pause=0.001), on_hung=hung.set, clock=clock)
        await asyncio.gather(*(ask(worker, f"{name} read 3 say 10") for name in "abc"))
        await when(lambda: clock.waits == 0)
        clock.advance(2 * HUNG_AFTER)
        await asyncio.sleep(0.02)

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
