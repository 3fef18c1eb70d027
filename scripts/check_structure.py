"""Checks the shape of the tree: no circle of imports, no file too long, no Markdown too wide. Part of ``make lint``.

Imports inside functions and under TYPE_CHECKING count: a circle that is hidden is a circle.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Container
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LONGEST = 300  # lines
WIDEST = 120  # columns of Markdown; ruff counts those of Python
PACKAGES = ("app", "benchmarks", "pages", "phi3core", "server", "tests")
TEXTS = {".md", ".py", ".sh", ".toml", ".yaml", ".yml"}


def main() -> int:
    """Print what is wrong, one line each. Returns the exit status: 0 where nothing is."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    files = [path for path in map(Path, listed.stdout.splitlines()) if path.suffix in TEXTS and path.is_file()]
    wrong = [*too_long(files), *too_wide(files), *circles([path for path in files if path.suffix == ".py"])]
    print("\n".join(wrong) or f"Structure: no circle of imports, no file over {LONGEST} lines in {len(files)} files.")
    return 1 if wrong else 0


def too_long(files: list[Path]) -> list[str]:
    """A sentence for each file that has too many lines."""
    counted = {path: len(path.read_text().splitlines()) for path in files}
    return [f"{path} has {lines} lines; {LONGEST} are allowed." for path, lines in counted.items() if lines > LONGEST]


def too_wide(files: list[Path]) -> list[str]:
    """A sentence for each line of Markdown that is too wide."""
    return [
        f"{path}:{number} has {len(line)} columns; {WIDEST} are allowed."
        for path in files
        if path.suffix == ".md"
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line) > WIDEST
    ]


def circles(files: list[Path]) -> list[str]:
    """A sentence for a circle of imports between files, nothing where there is none."""
    modules = {module_name(path): path for path in files}
    imports = {name: imported(path, modules) - {name} for name, path in modules.items()}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return [f"Circle of imports: {' → '.join(reversed(error.args[1]))}"]
    return []


def module_name(path: Path) -> str:
    """``phi3core.chat`` for phi3core/chat/__init__.py."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, modules: Container[str], part: ast.AST | None = None) -> set[str]:
    """The modules of this project that a file imports, anywhere in it or in a part of it."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(part or ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base for alias in node.names}
    return {name for name in found if name in modules and name.split(".")[0] in PACKAGES}


if __name__ == "__main__":
    sys.exit(main())
