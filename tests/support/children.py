"""Child processes that need no model: the real child, with an engine that does what its version's folder says.

folder = children.make(tmp_path / "slow", load_seconds=3)
Pool(settings, start_child=children.start).open(children.register(settings, folder))
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from phi3core.engine.interface import Done, End, Options, Piece, Prompt
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.serving.spawn import Child
from phi3core.settings import Settings
from tests.support import fakes

ROOT = Path(__file__).resolve().parents[2]
_CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.support.children import main; main()"
COMMAND = (sys.executable, "-c", _CODE)


def start(log: Path) -> Child:
    return Child(log, COMMAND)


def make(folder: Path, size: int = 0, **what: Any) -> Path:
    """A version's files, `size` bytes of them.

    While it loads (in this order): says: lines for its log. load_seconds: sleep. spin: hold the interpreter for about
    so many seconds. grow: bytes to take, slowly. fail: `memory`, `raise`, or the number of a signal. hold: wait for a
    file `go`.

    When it answers: words, with `pause` seconds before each. supports: the options that it takes, else all. die_at: the
    word before which its process is killed.
    """
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("metadata: {phi3: {wrapper: onnx}}")
    (folder / "what.json").write_text(json.dumps(what))
    with (folder / "weights").open("wb") as file:
        file.truncate(size)
    return folder


def register(settings: Settings, folder: Path, name: str = "") -> Version:
    """A version of the model `name`, by default called like its folder."""
    name = name or folder.name
    number = fakes.register(settings, name, source=folder.as_uri())
    return reader.get_version(settings, f"{name}/{number}")


class Engine(fakes.FakeEngine):
    """Says words as its folder tells. Writes `ended` into the folder when an answer was given up."""

    def __init__(self, folder: Path, what: dict[str, Any]) -> None:
        super().__init__(tuple(f" {number}" for number in range(what.get("words", 3))), what.get("pause", 0.0))
        self.options = Options(max_tokens=10_000)
        self.supports = frozenset(what.get("supports", self.supports))
        self.folder, self.what = folder, what

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        for number, item in enumerate(super().stream(prompt, options, stopped)):
            if number == self.what.get("die_at"):
                print("I am going to die", file=sys.stderr, flush=True)
                os.kill(os.getpid(), 9)
            yield item
        if self.said < len(self.words):
            with contextlib.suppress(PermissionError):  # in a cell
                (self.folder / "ended").write_text(str(self.said))


def load(folder: Path, trusted: bool = False, code: bool = False) -> Engine:
    """In place of phi3core.engine.open_artifact."""
    what = json.loads((folder / "what.json").read_text())
    for line in what.get("says", []):
        print(line, file=sys.stderr, flush=True)
    time.sleep(what.get("load_seconds", 0))
    _spin(what.get("spin", 0))
    taken = []
    for _ in range(what.get("grow", 0) // 10_000_000):
        taken.append(b"x" * 10_000_000)
        time.sleep(0.1)
    if what.get("fail") == "memory":
        raise MemoryError
    if what.get("fail") == "raise":
        raise RuntimeError("no such weights")
    if "fail" in what:
        os.kill(os.getpid(), what["fail"])
    while what.get("hold") and not (folder / "go").exists():
        time.sleep(0.02)
    return Engine(folder, what)


def _spin(seconds: float) -> None:
    """No other thread of this process runs meanwhile: a regular expression that backtracks holds the interpreter.

    seconds: of a processor, which on a busy machine take longer.
    """
    length = 18
    while seconds > 0:
        started = time.process_time()
        re.match("(a+)+$", "a" * length + "b")
        took = time.process_time() - started
        if took * 2 > seconds:
            return
        length += 1


def main() -> None:
    from phi3core.engine import loader
    from phi3core.serving.child import main as child_main

    loader.open_artifact = load
    child_main.main()
