"""The memory of sequences that are computed together: so many, copied, and given back."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from phi3core.engine.decoder import SLOTS, Decoder
from phi3core.engine.decoder_graph import read_graph
from phi3core.engine.interface import Options
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.tokens import TokenEngine
from tests.support.asking import ask
from tests.support.rows import TOKENS, VOCABULARY, begun, next_logits


def test_there_are_so_many_sequences_and_no_more(empty: Decoder) -> None:
    rows = [empty.row() for _ in range(SLOTS)]

    with pytest.raises(RuntimeError, match=f"There are {SLOTS} sequences already"):
        empty.row()

    del rows[3]
    assert empty.row().slot == 3


def test_the_memory_of_a_sequence_that_is_gone_is_given_back(empty: Decoder) -> None:
    keys = empty.slots.layers[0]
    (row,) = begun(empty, 50)
    slot = row.slot
    assert keys[slot].any()

    del row
    empty.row()

    assert not keys[slot].any()


def test_a_copy_of_a_sequences_beginning_goes_on_as_if_it_had_read_it(empty: Decoder) -> None:
    one, other = begun(empty, 50, 0)
    other.append(TOKENS[:30])
    copy = one.fork(30)
    for row in (copy, other):
        row.append(TOKENS[100:110])

    assert np.array_equal(next_logits(copy)[0], next_logits(other)[0])
    assert np.array_equal(next_logits(copy, other)[0], next_logits(other)[0])
    assert one.length == 50


def test_what_a_sequence_no_longer_needs_is_given_back(tiny_onnx: Path) -> None:
    graph = read_graph(tiny_onnx, json.loads((tiny_onnx / "genai_config.json").read_text()))
    assert graph
    large = Decoder(graph, tiny_onnx, VOCABULARY, 1024, 1)
    row = large.row()
    row.length = 900
    large.slots.note_written(row.slot, row.slot + 1, np.array([900]))
    keys = large.slots.layers[0][row.slot]
    keys[:, :900] = 1

    row.rewind(100)

    assert keys[:, :100].any(axis=(1, 2)).all()
    assert not keys[:, 300:].any()  # but for the rest of a page


def test_more_sequences_than_there_are_slots_are_asked_one_after_the_other(tiny_onnx: Path) -> None:
    """The least recently used goes."""
    engine = TokenEngine(OnnxRuntime(tiny_onnx), Options(max_tokens=2, temperature=0), budget=10**9)
    for number in range(SLOTS + 6):
        ask(engine, f"{number:03} asks for something", engine.options)

    assert ask(engine, "069 asks for something", engine.options).cached_tokens > 0
    assert ask(engine, "001 asks for something", engine.options).cached_tokens == 0


def test_no_more_conversations_go_than_room_is_needed_for(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the memory is told anew after each."""
    runtime = OnnxRuntime(tiny_onnx)
    engine = TokenEngine(runtime, Options(max_tokens=1, temperature=0), budget=10**9)
    assert runtime._together
    written, each = runtime._together.slots._written, runtime.token_bytes

    def memory() -> SimpleNamespace:
        return SimpleNamespace(available=2 * each * (300 - int(written.sum())))  # half of it is for conversations

    monkeypatch.setattr(psutil, "virtual_memory", memory)
    for letter in "abc":
        ask(engine, letter * 80, engine.options)

    ask(engine, "d" * 100, engine.options)

    assert ask(engine, "b" * 80, engine.options).cached_tokens > 0
    assert ask(engine, "a" * 80, engine.options).cached_tokens == 0
