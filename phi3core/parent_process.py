"""A child ends with the program that started it: its standard input is a pipe, which closes then."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def on_parent_exit(act: Callable[[], object]) -> None:
    """Call ``act`` in a thread once standard input has closed, however the parent ended."""

    def watch() -> None:
        while os.read(0, 4096):  # not sys.stdin: a thread that holds its lock breaks the interpreter's exit
            pass
        act()

    threading.Thread(target=watch, daemon=True).start()
