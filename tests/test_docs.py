"""The documentation keeps step with the tree: its links lead somewhere, what it names exists, its commands parse."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from phi3core.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ROOMS = ("phi3core", "pages", "tests", "scripts", "benchmarks", "docs")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub makes addresses of them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """What follows a program's name in a page's shell blocks; a line that ends in a backslash goes on."""
    for language, code in FENCE.findall(page.read_text()):
        if language == "sh":
            for line in code.replace("\\\n", " ").splitlines():
                if found := re.match(rf"\s*(?:\w+=\S+ )*{program} (.*)", line):
                    yield shlex.split(found[1], comments=True)


def check(group: click.Command, words: list[str]) -> None:
    """Raise click's own error where a command or an option does not exist."""
    context = click.Context(group)
    if isinstance(group, click.Group):
        found = group.get_command(context, words[0])
        assert found is not None, f"phi3 has no command {words[0]}"
        check(found, words[1:])
    else:
        group.parse_args(context, list(words))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for target in (link or reference for link, reference in LINK.findall(prose(page))):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    known = {path.name for room in (".", *ROOMS) for path in (ROOT / room).glob("**/*.py" if room != "." else "*.py")}
    for code in re.findall(r"`([\w./-]+)`", prose(page)):
        if code.split("/")[0] in ROOMS and "/" in code:
            assert (ROOT / code).exists(), code
        elif code.endswith(".py"):
            assert Path(code).name in known, code


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_functions_that_are_named_with_their_module_exist(page: Path) -> None:
    for module, function in re.findall(r"`(\w+)\.(\w+)(?:\(\))?`", prose(page)):
        files = [path for room in ("phi3core", "pages") for path in (ROOT / room).rglob(f"{module}.py")]
        if files and function not in ("py", "log"):
            assert any(re.search(rf"\b{function}\b", file.read_text()) for file in files), f"{module}.{function}"


@pytest.mark.parametrize("package", sorted((ROOT / "phi3core").rglob("__init__.py")), ids=name)
def test_the_face_that_a_package_names_exists(package: Path) -> None:
    for module, function in re.findall(r"`(\w+)\.(\w+)`", package.read_text()):
        text = (package.parent / f"{module}.py").read_text()
        assert re.search(rf"^(def|class|from .* import) {function}\b", text, re.MULTILINE), f"{module}.{function}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_that_are_written_down_are_understood(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in commands(page, "phi3"):
        check(main, words)
    for words in commands(page, "make"):
        assert [word for word in words if "=" not in word and word not in targets] == []


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()
