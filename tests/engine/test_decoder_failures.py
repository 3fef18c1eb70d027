"""Where the runtime fails in a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phi3core.engine.decoder import Row
from phi3core.engine.interface import Options
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
