"""Folders of prepared files, addressed by what they were made from and shared by every process on this machine.

An entry appears whole or not at all: it is made in a folder beside its place and renamed into it. Knows nothing of
models.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from .errors import Phi3Error


def get_or_make(
    cache: Path, kind: str, key: str, make: Callable[[Path], None], check: Callable[[Path], object] = lambda _: None
) -> Path:
    """The folder ``cache/kind/key``, filled by ``make(folder)`` if it is not there yet or fails its check.

    Processes that want the same entry at once wait for the one that makes it. What a killed process left behind is
    removed by the next, which holds the same lock.

    Args:
        key: hexadecimal digits, of everything that decides what is made.
        check: raises Phi3Error for an entry that was damaged since it was made.
    """
    target = cache / kind / key
    if _usable(target, check):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if _usable(target, check):
            return target
        shutil.rmtree(target, ignore_errors=True)
        for leftover in target.parent.glob(f"{key}.part-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{key}.part-"))
        try:
            make(part)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return target


def _usable(target: Path, check: Callable[[Path], object]) -> bool:
    if not target.is_dir():
        return False
    try:
        check(target)
    except Phi3Error:
        return False
    return True
