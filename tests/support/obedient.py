"""A model that does what it is told: its prompt is Python, and its answer is what comes of it. In the real child.

with serving(tmp_path) as model:
    assert model.does("open('/etc/passwd').read()") == "PermissionError"
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3core.cell import cell
from phi3core.engine.interface import Done, End, Options, Piece, Prompt
from phi3core.serving.spawn import Child
from tests.support import fakes
from tests.support.children import ROOT
from tests.support.fakes import until
from tests.support.serving import http

_CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.support.obedient import main; main()"
COMMAND = (sys.executable, "-c", _CODE)


class Engine(fakes.FakeEngine):
    """Its names are kept from one question to the next."""

    context_length = 100_000

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.options = Options(max_tokens=10_000)
        self.names: dict[str, Any] = {"os": os, "folder": folder, "subprocess": subprocess, "Path": Path}

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        try:
            said = repr(eval(str(prompt), self.names))
        except BaseException as error:
            said = type(error).__name__
        yield Piece(said)
        yield End("stop")
        yield Done(len(str(prompt)), 1)


def main() -> None:
    from phi3core.engine import loader
    from phi3core.serving.child import main as child_main

    loader.open_artifact = lambda folder, trusted, code: Engine(folder)
    child_main.main()


@dataclass
class Model:
    """One that is served. log: what its process wrote. folder: its files."""

    child: Child
    log: Path
    folder: Path

    def does(self, code: str) -> str:
        """What comes of an expression in its process: its repr, or the name of the error."""
        answer = http.post(
            f"http://127.0.0.1:{self.child.port}/v1/completions",
            json={"prompt": code},
            headers={"Authorization": f"Bearer {self.child.key}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["text"])


@contextmanager
def serving(place: Path, network: bool = False, shut_in: bool = True, memory: int = 0) -> Iterator[Model]:
    """A model server in a cell. place: an empty folder for its files and its log."""
    folder, log = place / "artifact", place / "log"
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    child = Child(log, COMMAND)
    try:
        until(lambda: child.port)
        limits = {"network": network, "memory": memory, "file_size": cell.FILE_SIZE} if shut_in else None
        told: dict[str, Any] = {"ref": "x/1", "names": ["x/1"], "artifact": str(folder), "log": str(log)}
        told |= {"trusted": False, "code": True, "parallel": 1, "queue": 1, "strict": False}
        child.send({**told, "local": True, "network": network, "cell": limits})
        until(lambda: (child.health(5) or {}).get("status") == "ready" or not child.alive())
        assert child.alive(), log.read_text()
        yield Model(child, log, folder)
    finally:
        child.end()
