"""Prints the test files that a change may touch, one a line: those that need, at some remove, a file that differs.

    python scripts/changed_tests.py          what differs from the last commit, new files included
    python scripts/changed_tests.py main     what differs from that commit

A file needs what it imports, inside functions too, and what its strings name, as a page or a program that it starts.
A fixture of a conftest.py counts for the tests that ask for it. pytest-testmon, which records what each test has
executed, is not used: it has to run everything once first, and sees nothing of the processes that tests start.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.check_structure import imported, module_name

Needs = dict[str, set[str]]
UNTESTED = {".md", ".png", ".gitignore", ".editorconfig"}  # what is neither Python nor of these touches every test
APP = {"app.py", "server.py", "phi3core/__main__.py"}


def main(base: str = "HEAD") -> int:
    """Print the files, nothing where none is touched. Returns the exit status."""
    changed = set(git("diff", "--name-only", base)) | set(git("ls-files", "--others", "--exclude-standard"))
    files = [name for name in git("ls-files", "--cached", "--others", "--exclude-standard") if Path(name).is_file()]
    needs = dependencies([name for name in files if name.endswith(".py")])
    tests = [name for name in needs if Path(name).name.startswith("test_")]
    everything = any(not name.endswith((".py", *UNTESTED)) for name in changed)
    touched = [name for name in tests if everything or reached(name, needs) & changed]
    print(f"{len(touched)} of {len(tests)} test files are touched by {len(changed)} changed files.", file=sys.stderr)
    print("\n".join(touched))
    return 0


def git(*arguments: str) -> list[str]:
    """The lines that git prints."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()


def dependencies(files: list[str]) -> Needs:
    """What each file needs itself. A function of a conftest.py is on its own, as `tests/conftest.py::built`."""
    trees = {name: ast.parse(Path(name).read_text()) for name in files}
    modules = {module_name(Path(name)): name for name in files}
    needs: Needs = {}
    for name, tree in trees.items():
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        if not name.endswith("conftest.py"):
            needs[name] = needed(name, [tree], modules) | fixtures(name, [tree], trees)
            continue
        needs[name] = needed(name, [node for node in tree.body if node not in functions], modules)
        for function in functions:
            own = {one.id for one in ast.walk(function) if isinstance(one, ast.Name)}
            called = {f"{name}::{one.name}" for one in functions if one.name in own}
            key = f"{name}::{function.name}"
            needs[key] = {name} | needed(name, [function], modules) | fixtures(name, [function], trees) | called
    return needs


def needed(name: str, nodes: list[ast.stmt] | list[ast.Module], modules: dict[str, str]) -> set[str]:
    """The files that some code of a file imports or names, with the packages they are in."""
    found = {modules[module] for node in nodes for module in imported(Path(name), modules, node)}
    for node in (one for part in nodes for one in ast.walk(part)):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        found |= {modules[word] for word in node.value.replace(";", " ").split() if "." in word and word in modules}
        found |= APP if node.value == "phi3core" else set()  # python -m phi3core
        if name.startswith(("app.py", "server.py", "tests/")):
            path = node.value.strip("/")
            found |= {path} & set(modules.values())
            found |= {one for one in modules.values() if one.startswith("pages/") and path == "pages"}
    inits = {str(folder / "__init__.py") for one in {name, *found} for folder in Path(one).parents}
    return found | inits & set(modules.values())


def fixtures(name: str, nodes: list[ast.FunctionDef] | list[ast.Module], trees: dict[str, ast.Module]) -> set[str]:
    """The conftest.py files above a test file, and their functions that its own have as arguments."""
    above = [str(folder / "conftest.py") for folder in Path(name).parents if str(folder / "conftest.py") in trees]
    asked = {one.arg for node in nodes for one in ast.walk(node) if isinstance(one, ast.arg)}
    given = {
        f"{one}::{node.name}"
        for one in above
        for node in trees[one].body
        if isinstance(node, ast.FunctionDef) and node.name in asked
    }
    return given | (set(above) if Path(name).name.startswith("test_") else set())


def reached(name: str, needs: Needs) -> set[str]:
    """The file, and all that it needs at any remove."""
    seen: set[str] = set()
    left = [name]
    while left:
        if (one := left.pop()) not in seen:
            seen.add(one)
            left.extend(needs.get(one, ()))
    return seen


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
