"""How much of the disk a process takes: by the files in its folder, and by those that it has deleted and keeps open.

A model's author may make them hard to count: what can't be counted is more than any limit.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path

NAMES = 10_000
"""Files, folders and open files that are counted, at most."""


_GONE = (FileNotFoundError, NotADirectoryError)


def used(folder: str, pid: int) -> float:
    """Bytes that it takes; infinite where there are too many names to count, or some that can't be read.

    Args:
        folder: the only one in which it may write.
        pid: of the process.
    """
    taken = 0
    try:
        for number, size in enumerate(_sizes(folder, pid)):
            if number >= NAMES:
                return math.inf
            taken += size
    except OSError:  # a path that is too long, a folder that may not be listed
        return math.inf
    return taken


def _sizes(folder: str, pid: int) -> Iterator[int]:
    """Of each name below the folder, and of each open file. Reads no list of names further than it is asked."""
    folders = [folder]
    while folders:
        with contextlib.suppress(*_GONE), os.scandir(folders.pop()) as entries:  # it was removed meanwhile
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                with contextlib.suppress(FileNotFoundError):
                    yield entry.stat(follow_symlinks=False).st_blocks * 512
    seen = set()
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:  # there is none beyond Linux
        for entry in entries:
            found = _stat_open(Path(entry.path))
            deleted = found is not None and stat.S_ISREG(found.st_mode) and not found.st_nlink
            if found is None or not deleted or (found.st_dev, found.st_ino) in seen:
                yield 0
                continue
            seen.add((found.st_dev, found.st_ino))
            yield found.st_size


def _stat_open(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # it was closed meanwhile
        return None
