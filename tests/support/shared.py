"""What is made once in a run of the tests, by the process that asks for it first, and used by all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tests.support.fakes import until

ROOT = Path(__file__).resolve().parents[2]


def once(path: Path, make: Callable[[Path], object]) -> Path:
    """The file or folder that `make` writes when it is given the path. Only read it: others do."""
    made = path.with_name(f"{path.name}.made")
    with FileLock(f"{path}.lock"):
        if not made.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
            made.touch()
    return path


def started(folder: Path, module: str, *arguments: str, extra: dict[str, str] | None = None) -> str:
    """What the program `python -m MODULE FOLDER PID ARGUMENTS` writes into the file `up` once it can be used.

    It is started once, and has to end when the process with that id does, the one that started all the others.
    """

    def start(path: Path) -> None:
        path.mkdir(parents=True)
        main = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
        command = [sys.executable, "-m", module, str(path), str(main), *arguments]
        with (path / "log").open("wb") as log:
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(extra or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the process that starts it may end before the last one that uses it
            )
        until(lambda: (path / "up").exists() or child.poll() is not None, 600)
        assert (path / "up").exists(), (path / "log").read_text()

    return (once(folder, start) / "up").read_text()
