"""Where the runtime fails in a step, and where the system gives no room for the keys and values."""

from __future__ import annotations

import errno
import mmap
from pathlib import Path
from typing import Any

import psutil
import pytest

from phi3core.engine.decoder import SLOTS, Row
from phi3core.engine.interface import Options
from phi3core.engine.kv_buffer import Buffer
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.tokens import TokenEngine
from tests.support.asking import ask, never


def test_a_kept_conversation_that_was_in_a_failed_step_goes_on(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TokenEngine(OnnxRuntime(tiny_onnx), Options(max_tokens=4, temperature=0))
    expected = ask(engine, "what is kept", engine.options)
    stream = engine.stream("what is kept", engine.options, never)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # its next token waits
    row = engine._runtime.sequence(1)
    assert isinstance(row, Row)
    run = row._decoder._run

    def fail_together(first: int, end: int, *more: Any) -> Any:
        if end - first > 1:
            raise RuntimeError("no memory")
        return run(first, end, *more)

    with monkeypatch.context() as patch:
        patch.setattr(row._decoder, "_run", fail_together)
        with pytest.raises(RuntimeError, match="no memory"):
            ask(engine, "another", engine.options)

    again = ask(engine, "what is kept", engine.options)
    assert again == expected
    assert again.cached_tokens > 0


def overcommit() -> str:
    told = Path("/proc/sys/vm/overcommit_memory")
    return told.read_text().strip() if told.exists() else ""


@pytest.mark.skipif(overcommit() != "0", reason="what the system does by itself where nobody has set it")
def test_the_room_for_all_conversations_may_be_larger_than_the_machines_memory() -> None:
    memory = psutil.virtual_memory().total + psutil.swap_memory().total
    tokens = 2 * memory // (SLOTS * 64 * 4) // 1024 * 1024

    buffer = Buffer((SLOTS, 1, tokens, 64))

    buffer.rows[-1, 0, -1] = 1
    assert buffer.rows[-1, 0, -1].all()
    buffer.give_back(SLOTS - 1)
    assert not buffer.rows[-1, 0, -1].any()


def test_where_the_system_refuses_the_room_onnxruntime_genai_answers_the_same_and_the_log_says_so(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(max_tokens=4, temperature=0, logprobs=2)
    expected = ask(TokenEngine(OnnxRuntime(tiny_onnx), options), "Hello there", options)
    assert capsys.readouterr().err == ""

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    runtime = OnnxRuntime(tiny_onnx)

    assert (runtime.batched, runtime.slots) == (False, 0)
    assert ask(TokenEngine(runtime, options), "Hello there", options) == expected
    told = capsys.readouterr().err
    assert told.startswith("Answers take turns: the system gives no room for 64 conversations")
    assert told.endswith("Cannot allocate memory\n")
