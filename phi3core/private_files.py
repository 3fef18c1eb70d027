"""Files that no other user of the machine may read: what the home holds, whatever made it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(path: Path) -> bool:
    """Take a file or folder away from the group and from others. Returns whether it is its owner's alone now."""
    try:
        mode = path.lstat().st_mode
        if mode & _OTHERS and not stat.S_ISLNK(mode):  # a link has no rights of its own
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    except FileNotFoundError:  # it was just removed
        return True
    except OSError:  # it is another user's
        return False
    return True


def make_all_private(folder: Path) -> list[Path]:
    """Do so with a folder and everything below it, links not followed. Returns what could not be changed."""
    left = [] if make_private(folder) else [folder]
    for place, folders, files in os.walk(folder):
        left += [path for path in (Path(place, name) for name in (*folders, *files)) if not make_private(path)]
    return left
