"""Sequences that are computed together have, to the last bit, the logits that onnxruntime-genai gives each alone."""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phi3core.engine import genai
from phi3core.engine.decoder import NONE, SLOTS, Decoder, Row
from phi3core.engine.decoder_graph import read_graph
from phi3core.engine.interface import Options
from phi3core.engine.kv_cache import Sequence
from phi3core.engine.loader import open_artifact
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.tokens import TokenEngine
from tests.conftest import Built
from tests.support.asking import ask, folder_of

ROOM, VOCABULARY = 128, 288
TOKENS = np.random.default_rng(1).integers(7, 250, 400).astype(np.int32)


@pytest.fixture(scope="module")
def decoder(tiny_onnx: Path) -> Decoder:
    graph = read_graph(tiny_onnx, json.loads((tiny_onnx / "genai_config.json").read_text()))
    assert graph
    return Decoder(graph, tiny_onnx, VOCABULARY, ROOM, 1)


@pytest.fixture(scope="module")
def model(tiny_onnx: Path) -> genai.Model:
    return genai.Model(tiny_onnx)


@pytest.fixture
def empty(decoder: Decoder) -> Iterator[Decoder]:
    """Without any sequence before and after."""
    yield decoder
    if decoder._alive():
        gc.collect()  # what a failure has held on to
    assert decoder._alive() == []


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


def begun(decoder: Decoder, *lengths: int, divide: int = 0) -> list[Row]:
    """Sequences of these lengths, no two with the same tokens."""
    rows = [decoder.row(divide) for _ in lengths]
    for at, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        if length:
            row.append(TOKENS[at * 10 : at * 10 + length])
    return rows


def next_logits(*rows: Row, token: int = 9) -> list[np.ndarray[Any, Any]]:
    """After one token more, computed for all of them together; they are as they were then."""
    for row in rows:
        row.append_one(token)
    found = [row.logits() for row in rows]
    for row in rows:
        row.rewind(row.length - 1)
    return found


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


def test_where_kernels_round_by_the_batch_every_sequence_is_computed_alone(
    empty: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, runs, run = begun(empty, 5, 8, 20), list[int](), empty._run

    def by_the_batch(first: int, end: int, *more: Any) -> Any:
        runs.append(end - first)
        return run(first, end, *more) + (end - first > 2)

    monkeypatch.setattr(empty, "_run", by_the_batch)
    found = empty._is_exact()
    monkeypatch.setattr(empty, "exact", found)
    runs.clear()
    next_logits(*rows)

    assert (found, runs) == (False, [1, 1, 1])


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


def test_there_are_so_many_sequences_and_no_more(empty: Decoder) -> None:
    rows = [empty.row() for _ in range(SLOTS)]

    with pytest.raises(RuntimeError, match=f"There are {SLOTS} sequences already"):
        empty.row()

    del rows[3]
    assert empty.row().slot == 3


def test_the_memory_of_a_sequence_that_is_gone_is_given_back(empty: Decoder) -> None:
    keys = empty._caches[0][2].rows
    (row,) = begun(empty, 50)
    slot = row.slot
    assert keys[slot].any()

    del row
    empty.row()

    assert not keys[slot].any()


def test_more_sequences_than_there_are_slots_are_asked_one_after_the_other(tiny_onnx: Path) -> None:
    """The least recently used goes."""
    engine = TokenEngine(OnnxRuntime(tiny_onnx), Options(max_tokens=2, temperature=0), budget=10**9)
    for number in range(SLOTS + 6):
        ask(engine, f"{number:03} asks for something", engine.options)

    assert ask(engine, "069 asks for something", engine.options).cached_tokens > 0
    assert ask(engine, "001 asks for something", engine.options).cached_tokens == 0


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
