"""A virtual environment with some requirements and nothing else, without installing anything anew."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def make_environment(folder: Path, requirements: list[str]) -> Path:
    """Link what is installed where the tests run, as far as it is required, into a new environment.

    Returns:
        Its Python.

    Raises:
        AssertionError: another version is installed than is required.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for needed in _closure(requirements):
        for file in needed.files or []:
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # packages share the __init__ of a namespace
                os.symlink(file.locate(), target)
    return folder / "bin" / "python"


def _closure(requirements: list[str]) -> list[Distribution]:
    """The installed packages that these need, and what those need."""
    waiting = [(Requirement(line), "") for line in requirements]
    found: dict[tuple[str, str], Distribution] = {}
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        try:
            there = distribution(wanted.name)
        except PackageNotFoundError as missing:
            raise AssertionError(f"{wanted} is required, and not installed") from missing
        assert wanted.specifier.contains(there.version, prereleases=True), f"{wanted}: {there.version} is installed"
        for more in ("", *wanted.extras):
            if (there.name, more) not in found:
                found[there.name, more] = there
                waiting += [(Requirement(line), more) for line in there.requires or []]
    return list({there.name: there for there in found.values()}.values())
