"""The temporary folders in which models write, each locked by the process that made it for as long as that lives.

That process removes it. Where it was killed the system has taken the lock back, and the app's next start removes the
folder (`remove_left`): by pids alone, a process in another container that shares the folder would look dead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_NAME = "phi3-cell-"
_YOUNG = 60  # seconds: a folder that was just made may not be locked yet


class OwnFolder:
    """A new folder, which is this user's alone, under ``path``."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix=_NAME)
        self._lock = _lock(self.path)

    def remove(self) -> None:
        """Remove it with all that is in it; again is harmless."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


@contextlib.contextmanager
def own_folder() -> Iterator[str]:
    """The path of a new folder, which is removed at the end."""
    folder = OwnFolder()
    try:
        yield folder.path
    finally:
        folder.remove()


def remove_left() -> None:
    """Remove the folders of this user that processes left which were killed. It may take a while."""
    if sys.platform == "win32":  # which has no such locks
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_NAME}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < _YOUNG:
                continue
            if (lock := _lock(str(folder))) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _lock(folder: str) -> int | None:
    """The open folder, locked until it is closed; None where another process has it. May raise OSError."""
    if sys.platform == "win32":
        return None
    import fcntl

    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held
