"""The thread that runs the model: turns, the queue, what is given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from phi3core.engine.interface import Done, End, Options, Piece, Prompt
from phi3core.errors import Busy
from tests.support.turns import OPTIONS, Limited, Turns, ask, heard, ready, run, when

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


class Echoes(Turns):
    """Its echoes tell a prompt after each step of reading."""

    def echo(
        self, prompts: list[Prompt], options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        for at, prompt in enumerate(prompts):
            self.go.wait(10)
            self.log.append("echo")
            yield None
            self.log.append("echo")
            yield Piece(str(prompt), at)
            yield End("length", at)
        yield Done(len(prompts), 0)


def test_several_echoes_keep_anothers_tokens_waiting_no_longer_than_one_does_to_their_ends() -> None:
    async def scene() -> None:
        engine = Echoes()
        engine.go.clear()
        worker = await ready(lambda: engine)
        asked = [ask(worker, "talker read 0 say 12")]
        await when(lambda: worker.running == 1)
        echoes = [worker.echo(["a", "b", "c", "d"], OPTIONS, 0) for _ in range(4)]
        await when(lambda: worker.running + worker.waiting == 5)
        engine.go.set()
        await asyncio.gather(*asked)

        spoken = [at for at, name in enumerate(engine.log) if name == "talker"]
        assert all(after - before <= 2 for before, after in pairwise(spoken[1:])), engine.log
        assert [await heard(answer) for answer in echoes] == ["abcd"] * 4

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
