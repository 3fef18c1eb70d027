"""The check of the tree's shape finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_structure import circles, too_long, too_wide


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two files, of which one imports the other."""
    monkeypatch.chdir(tmp_path)
    folder = Path("phi3core")
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("from . import two\n")
    (folder / "two.py").write_text("import json\n")
    return folder


def files(tree: Path) -> list[Path]:
    return sorted(tree.glob("*"))


def test_imports_that_point_one_way_are_no_circle(tree: Path) -> None:
    assert circles(files(tree)) == []


@pytest.mark.parametrize(
    "hidden",
    [
        "from phi3core import one\n",
        "def late():\n    from .one import something\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import phi3core.one\n",
    ],
    ids=["plain", "in a function", "for types"],
)
def test_a_circle_is_found_wherever_the_import_stands(tree: Path, hidden: str) -> None:
    (tree / "two.py").write_text(hidden)
    (said,) = circles(files(tree))
    assert "phi3core.one" in said
    assert "phi3core.two" in said


def test_a_file_of_more_than_300_lines_is_too_long(tree: Path) -> None:
    (tree / "one.py").write_text("\n" * 300)
    (tree / "two.py").write_text("\n" * 301)
    assert too_long(files(tree)) == ["phi3core/two.py has 301 lines; 300 are allowed."]


def test_a_line_of_markdown_of_more_than_120_columns_is_too_wide(tree: Path) -> None:
    (tree / "page.md").write_text("…" * 120 + "\n" + "…" * 121 + "\n")
    assert too_wide(files(tree)) == ["phi3core/page.md:2 has 121 columns; 120 are allowed."]
