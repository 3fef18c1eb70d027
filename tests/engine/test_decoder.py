"""Sequences that are computed together have, to the last bit, the logits that onnxruntime-genai gives each alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phi3core.engine import genai
from phi3core.engine.decoder import NONE, Decoder, Row
from phi3core.engine.kv_cache import Sequence
from phi3core.engine.loader import open_artifact
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.tokens import TokenEngine
from tests.conftest import Built
from tests.support.asking import folder_of
from tests.support.rows import ROOM, TOKENS, VOCABULARY, begun, next_logits


@pytest.fixture(scope="module")
def model(tiny_onnx: Path) -> genai.Model:
    return genai.Model(tiny_onnx)


def logits_of(sequence: Sequence) -> Iterator[np.ndarray[Any, Any]]:
    """After a prompt in pieces, tokens one by one, a rewind, and more of the same."""
    for begin, end in ((0, 9), (9, 40), (40, 42)):
        sequence.append(TOKENS[begin:end])
        yield sequence.logits()
    for at in range(42, 50):
        sequence.append_one(int(TOKENS[at]))
        yield sequence.logits()
    sequence.rewind(30)
    sequence.append_one(7)
    yield sequence.logits()
    sequence.append(TOKENS[50:80])
    yield sequence.logits()


def test_the_logits_are_those_of_onnxruntime_genai(empty: Decoder, model: genai.Model) -> None:
    ours, theirs = logits_of(empty.row()), logits_of(genai.Generator(model, ROOM, VOCABULARY))

    for mine, other in zip(ours, theirs, strict=True):
        assert np.array_equal(mine, other)


@pytest.mark.parametrize("count", [2, 3, 4, 8, 16])
def test_a_sequences_logits_are_the_same_alone_and_among_others(empty: Decoder, count: int) -> None:
    rows = begun(empty, *range(5, 5 + 7 * count, 7))
    alone = [next_logits(row)[0] for row in rows]

    together = next_logits(*rows)

    for mine, other in zip(together, alone, strict=True):
        assert np.array_equal(mine, other)


def test_all_that_wait_are_computed_in_one_run(empty: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, runs = begun(empty, 5, 8, 20, 30), list[int]()
    run = empty._run
    monkeypatch.setattr(empty, "_run", lambda first, end, *more: runs.append(end - first) or run(first, end, *more))

    next_logits(*rows)

    assert runs == [4]


def test_those_that_sit_between_are_left_as_they_are(empty: Decoder) -> None:
    """One is kept for later, one is gone, one is in the middle of its prompt."""
    rows = begun(empty, 20, 30, 0, 25, 40)
    rows[3].append(TOKENS[100:110])
    expected = [next_logits(row)[0] for row in rows]
    rows[2] = None  # type: ignore[call-overload]
    for _ in range(4):
        next_logits(rows[0], rows[4], token=11)

    for at in (0, 1, 3, 4):
        assert np.array_equal(next_logits(rows[at])[0], expected[at])


def test_sequences_that_are_far_apart_are_brought_together(empty: Decoder) -> None:
    rows = begun(empty, *range(10, 50, 2))
    expected = [next_logits(row)[0] for row in rows]
    before = [row.slot for row in rows]
    few = [rows[at] for at in (1, 9, 14, 19)]

    for _ in range(4):
        together = next_logits(*few)

    assert sorted(row.slot for row in few) == [1, 2, 3, 4]
    assert sorted(row.slot for row in rows) == before
    for mine, at in zip(together, (1, 9, 14, 19), strict=True):
        assert np.array_equal(mine, expected[at])
    for row, other in zip(rows, expected, strict=True):
        assert np.array_equal(next_logits(row)[0], other)


def test_sequences_on_both_sides_of_a_divide_are_in_no_step_together_in_whatever_order_they_are(
    empty: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S: shorter than the divide, L: longer; s, l: the same, which wait for nothing; a dot: a slot that is free."""
    divide, lengths, run = 30, {"S": 9, "s": 12, "L": 40, "l": 45, ".": 0}, empty._run
    steps = list[bool]()

    def run_one_kind(first: int, end: int, ids: Any, sizes: np.ndarray[Any, Any]) -> Any:
        long = [row.is_long(1) for row in empty._alive() if first <= row.slot < end and row.waiting != NONE]
        steps.append(any(long) == all(long) and (all(long) or sizes.max() <= divide))
        return run(first, end, ids, sizes)

    chance = random.Random(1)
    for order in ["SLLS", "SLLSL", *("".join(chance.choices("SLSLsl.", k=chance.randrange(4, 9))) for _ in range(60))]:
        rows: list[Any] = begun(empty, *(lengths[kind] + at for at, kind in enumerate(order)), divide=divide)
        expected = [next_logits(row)[0] for row in rows]
        for at, kind in enumerate(order):
            if kind == ".":
                rows[at] = None
        wait = [at for at, kind in enumerate(order) if kind in "SL"]
        with monkeypatch.context() as patch:
            patch.setattr(empty, "_run", run_one_kind)
            for _ in range(3):
                for found, at in zip(next_logits(*(rows[at] for at in wait)), wait, strict=True):
                    assert np.array_equal(found, expected[at]), order
        for row, alone in zip(rows, expected, strict=True):
            assert row is None or np.array_equal(next_logits(row)[0], alone), order
        del row

    assert all(steps)


def test_what_waits_is_forgotten_with_a_rewind_and_computed_before_what_follows(empty: Decoder) -> None:
    one, other = begun(empty, 20, 0)
    other.append(TOKENS[:20])
    one.append_one(9)
    one.rewind(20)
    one.append_one(11)
    one.append_one(12)
    one.append(TOKENS[60:70])
    other.append_one(11)
    other.append_one(12)
    other.append(TOKENS[60:70])

    assert np.array_equal(one.logits(), other.logits())
    assert one.length == other.length == 32


@pytest.mark.parametrize(("exactly", "computed"), [(True, [1, 1, 1]), (False, [3])])
def test_where_kernels_round_by_the_batch_it_is_told_and_sequences_are_computed_alone_where_that_is_asked_for(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, exactly: bool, computed: list[int]
) -> None:
    runs, run = list[int](), Decoder._run

    def by_the_batch(self: Decoder, first: int, end: int, *more: Any) -> Any:
        runs.append(end - first)
        return run(self, first, end, *more) + (end - first > 2)

    monkeypatch.setattr(Decoder, "_run", by_the_batch)
    monkeypatch.setenv("PHI3_EXACT", "1" if exactly else "0")
    runtime = OnnxRuntime(tiny_onnx)
    rows = [runtime.sequence(ROOM) for _ in range(3)]
    for length, row in zip((5, 8, 20), rows, strict=True):
        row.append(TOKENS[:length])
    runs.clear()
    for row in rows:
        row.append_one(9)
    rows[0].logits()

    assert (runtime.exact, runtime.batched, runs) == (exactly, not exactly, computed)


def test_a_step_that_fails_is_told_to_everybody_in_it_and_to_nobody_else(
    empty: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = begun(empty, 5, 8, 20)
    with monkeypatch.context() as patch:
        patch.setattr(empty, "_run", lambda *_: (_ for _ in ()).throw(RuntimeError("no memory")))
        for row in rows[:2]:
            row.append_one(9)
        for row in rows[:2]:
            with pytest.raises(RuntimeError, match="The runtime failed: no memory"):
                row.logits()

    assert len(next_logits(rows[2])[0]) == VOCABULARY


@pytest.mark.model
def test_the_embedded_models_logits_are_those_of_onnxruntime_genai_alone_and_in_a_batch(
    built: Built,
) -> None:
    engine = open_artifact(folder_of(built, 2))
    assert isinstance(engine, TokenEngine)
    runtime = engine._runtime
    assert isinstance(runtime, OnnxRuntime)
    rows = [row for _ in range(8) if isinstance(row := runtime.sequence(ROOM), Row)]
    for at, row in enumerate(rows):
        row.append(TOKENS[: 10 + 9 * at])
    model = genai.Model(runtime._folder)

    for count in (1, 2, 4, 8):
        for row, found in zip(rows, next_logits(*rows[:count]), strict=False):
            theirs = genai.Generator(model, ROOM, runtime.vocabulary)
            theirs.append(TOKENS[: row.length])
            theirs.append_one(9)
            assert np.array_equal(found, theirs.logits())
    assert engine.batched
