"""Whatever comes, goes, stops and goes on beside it, an answer is to the last bit the one that it is alone."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from phi3core.engine.decoder import Row
from phi3core.engine.interface import Done, End, Options, Piece
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.tokens import TokenEngine
from tests.support.asking import Answer, ask, fresh, never

SCHEDULES = int(os.environ.get("PHI3_SCHEDULES", "150"))
_SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'
OPTIONS = [
    Options(max_tokens=9, temperature=1, top_p=1, top_k=200, seed=3, logprobs=3),
    Options(max_tokens=6, temperature=0, repetition_penalty=1.3),
    Options(max_tokens=5, temperature=1, seed=5, n=3),
    Options(max_tokens=12, temperature=0.7, seed=7, json_schema=_SCHEMA),
    Options(max_tokens=1, temperature=1, seed=8, logprobs=1),
    Options(max_tokens=8, temperature=1.5, top_p=1, seed=9, presence_penalty=1, frequency_penalty=1, stop=("a", "e")),
]


def prompts() -> list[str]:
    """Beginnings in common, edits, and one that goes on from another; lengths from one token to most of the context."""
    chance = random.Random(1)
    text = "".join(chance.choices("abcdefgh ", k=110))
    other = "".join(chance.choices("abcdefgh ", k=110))
    return [*(text[:length] for length in (1, 2, 3, 17, 64, 65, 66, 90, 110)), text[:40] + other[:50], other[:80]]


@dataclass
class Running:
    """An answer that is being written, and what has come of it. stop_at: how many items are waited for at most."""

    case: tuple[str, Options]
    stream: object
    items: list[Piece | End | Done]
    stop_at: int


class Schedule:
    """Answers of one engine, written in turns as a model server does, in an order that chance makes."""

    def __init__(self, engine: TokenEngine, alone: dict[tuple[str, Options], Answer], seed: int) -> None:
        self.engine, self.alone, self.chance = engine, alone, random.Random(seed)
        self.running: list[Running] = []
        self.whole = 0

    def go(self) -> int:
        """How many answers came to their end."""
        waiting = self.chance.randrange(3, 10)
        while waiting or self.running:
            if waiting and len(self.running) < 8 and self.chance.random() < 0.4:
                waiting -= 1
                self.join()
            for one in list(self.running):
                if self.chance.random() < 0.9:  # a model server leaves none out; those that read wait for each other
                    self.step(one)
        return self.whole

    def join(self) -> None:
        case = self.chance.choice(list(self.alone))
        until = self.chance.randrange(1, 9) if self.chance.random() < 0.25 else 1000
        self.running.append(Running(case, self.engine.stream(*case, never), [], until))

    def step(self, one: Running) -> None:
        item = next(one.stream, StopIteration)  # type: ignore[call-overload]
        if item is StopIteration:
            self.running.remove(one)
            self.compare(one)
        elif len(one.items) >= one.stop_at:
            self.running.remove(one)
            one.stream.close()  # type: ignore[attr-defined]
        elif item is not None:
            one.items.append(item)

    def compare(self, one: Running) -> None:
        self.whole += 1
        expected = self.alone[one.case]
        texts, tokens = [""] * one.case[1].n, [[] for _ in range(one.case[1].n)]  # type: ignore[var-annotated]
        for item in one.items:
            if isinstance(item, Piece):
                texts[item.index] += item.text
                tokens[item.index] += item.tokens
        assert texts == expected.texts
        assert tokens == expected.tokens
        assert [item.finish_reason for item in one.items if isinstance(item, End)] == expected.reasons


@pytest.fixture(scope="module", params=[0, 85], ids=["of one kind", "on both sides of a divide"])
def engine(request: pytest.FixtureRequest, tiny_onnx: Path) -> TokenEngine:
    """One that computes sequences of more tokens than the divide in steps of their own, where there is one."""
    runtime = OnnxRuntime(tiny_onnx)
    runtime.divide = request.param
    return TokenEngine(runtime, Options())


@pytest.fixture(scope="module")
def alone(engine: TokenEngine) -> dict[tuple[str, Options], Answer]:
    """Each answer by an engine that has kept nothing."""
    return {(prompt, options): ask(fresh(engine), prompt, options) for prompt in prompts() for options in OPTIONS}


def test_in_any_company_an_answer_is_the_one_it_is_alone(
    engine: TokenEngine, alone: dict[tuple[str, Options], Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.batched
    whole, kept, copies, fork = 0, fresh(engine), list[int](), Row.fork
    monkeypatch.setattr(Row, "fork", lambda row, length: copies.append(length) or fork(row, length))
    for seed in range(SCHEDULES):
        if seed % 10 == 0:  # till then, what others have left is there
            kept = fresh(engine)
        whole += Schedule(kept, alone, seed).go()

    assert whole > 3 * SCHEDULES
    assert len(copies) > SCHEDULES // 4  # beginnings in common, of others that are kept, that read and that write
