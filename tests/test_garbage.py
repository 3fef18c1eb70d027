"""Libraries that are imported while Python looks for no circular garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3core import garbage

NAME = "a_library_of_this_test"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One that keeps whether garbage was looked for while it was imported, and what to do besides."""
    (tmp_path / f"{NAME}.py").write_text("import gc\nlooked = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield NAME
    sys.modules.pop(NAME, None)


def test_a_library_is_imported_without_a_look_for_garbage_which_goes_on_afterwards(library: str) -> None:
    garbage.import_libraries(library)

    assert sys.modules[library].looked is False
    assert gc.isenabled()


def test_what_was_imported_is_never_looked_through(library: str) -> None:
    garbage.import_libraries(library)
    frozen = gc.get_freeze_count()
    later = [[number] for number in range(1000)]

    garbage.import_libraries(library)  # it is there: nothing more is put aside

    assert frozen > 0
    assert gc.get_freeze_count() <= frozen
    assert later


def test_a_library_that_is_missing_is_left_out_and_a_broken_one_is_not_hidden(library: str, tmp_path: Path) -> None:
    garbage.import_libraries("no_such_library_anywhere", library)
    assert library in sys.modules

    (tmp_path / "broken_library_of_this_test.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        garbage.import_libraries("broken_library_of_this_test")
    assert gc.isenabled()
