"""What a test process has imported, kept from Python's search for circular garbage.

Streamlit has all garbage collected after every run of a page, the index after every scan. With MLflow and PyTorch in
the process each takes a quarter of a second to half a second.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from phi3core.registry import index


@pytest.fixture(scope="session", autouse=True)
def heap_collected_once() -> Iterator[None]:
    """Collect what the tests' modules have left, and look for garbage from now on."""
    gc.collect()
    gc.enable()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_freeze_for_garbage_collector", lambda: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def heap_set_aside(heap_collected_once: None) -> None:
    """Only what comes after is looked through: the files of tests before have imported more."""
    gc.freeze()
