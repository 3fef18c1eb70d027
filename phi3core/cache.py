"""A folder of prepared files addressed by what they were made from; shared by every build on this machine.

An entry appears whole or not at all: it is made in a folder beside its place and renamed into it. Knows
nothing of models.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from .errors import Phi3Error


def key_of(*parts: str) -> str:
    """The address of what was made from these parts: 64 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def digest_of(folder: Path) -> str:
    """SHA-256 over every file of a folder, by relative name and content: 64 hexadecimal digits."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return total_of({path.relative_to(folder).as_posix(): digest_of_file(path) for path in files})


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def total_of(digests: Mapping[str, str]) -> str:
    """What `digest_of` gives for a folder with these files: relative name → SHA-256 of its content."""
    total = hashlib.sha256()
    for name in sorted(digests, key=lambda name: name.split("/")):
        total.update(name.encode() + b"\0" + bytes.fromhex(digests[name]))
    return total.hexdigest()


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def entry(
    cache: Path, kind: str, key: str, make: Callable[[Path], None], check: Callable[[Path], object] = lambda _: None
) -> Path:
    """The folder ``cache/kind/key``, filled by ``make(folder)`` if it is not there yet or fails its check.

    check raises Phi3Error for an entry that was damaged since it was made.

    Processes that want the same entry at once wait for the one that makes it. What a killed one left
    behind is removed by the next, which holds the same lock.
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
