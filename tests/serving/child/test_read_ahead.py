"""What the next turns will begin with is read while there is no request, and holds up none."""

from __future__ import annotations

import asyncio

import pytest

from phi3core.serving.child.worker import READ_AHEAD_DELAY
from tests.support.clock import ManualClock
from tests.support.turns import OPTIONS, Turns, ask, ready, run, when


def test_what_the_next_turn_begins_with_is_read_while_nobody_asks() -> None:
    async def scene() -> None:
        engine, clock = Turns(), ManualClock()
        worker = await ready(lambda: engine, clock=clock)
        assert await ask(worker, "a read 0 say 1") == "a1 "
        worker.read_ahead("next 3", OPTIONS)
        await when(lambda: clock.waits == 1)
        assert engine.log == ["a", "a ended"]
        clock.advance(READ_AHEAD_DELAY)
        await when(lambda: "next ended" in engine.log)

        assert engine.log == ["a", "a ended", "next", "next", "next", "next ended"]
        assert (worker.running, worker.waiting) == (0, 0)

    run(scene())


def test_who_asks_again_at_once_does_not_wait_for_what_is_read_ahead() -> None:
    async def scene() -> None:
        engine, clock = Turns(), ManualClock()
        worker = await ready(lambda: engine, clock=clock)
        worker.read_ahead("next 3", OPTIONS)
        assert await ask(worker, "a read 1 say 1") == "a1 "
        clock.advance(2 * READ_AHEAD_DELAY)
        assert await worker.call(lambda: "at rest") == "at rest"

        assert engine.log == ["a", "a", "a ended"]

    run(scene())


def test_a_request_puts_an_end_to_reading_ahead_before_it_is_read_itself() -> None:
    async def scene() -> None:
        engine, clock = Turns(pause=0.002), ManualClock()
        worker = await ready(lambda: engine, clock=clock)
        worker.read_ahead("long 1000", OPTIONS)
        worker.read_ahead("other 1000", OPTIONS)
        clock.advance(READ_AHEAD_DELAY)
        await when(lambda: engine.log.count("long") > 2)
        assert await ask(worker, "a read 1 say 2") == "a1 a2 "
        await asyncio.sleep(0.05)

        assert engine.log[-5:] == ["long ended", "a", "a", "a", "a ended"]

    run(scene())


def test_reading_ahead_that_fails_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    async def scene() -> None:
        engine, clock = Turns(), ManualClock()
        worker = await ready(lambda: engine, clock=clock)
        worker.read_ahead("broken 3", OPTIONS)
        clock.advance(READ_AHEAD_DELAY)
        await when(lambda: "broken ended" in engine.log)
        assert await ask(worker, "a read 1 say 2") == "a1 a2 "

    run(scene())
    assert "the runtime broke" in capfd.readouterr().err


def test_no_more_is_read_ahead_than_answers_are_written_at_once() -> None:
    async def scene() -> None:
        engine, clock = Turns(), ManualClock()
        engine.go.clear()
        worker = await ready(lambda: engine, parallel=2, clock=clock)
        for name in "abcde":
            worker.read_ahead(f"{name} 1", OPTIONS)
        engine.go.set()
        clock.advance(READ_AHEAD_DELAY)
        await when(lambda: engine.log.count("b ended") == 1)

        assert engine.log == ["a", "a ended", "b", "b ended"]

    run(scene())
