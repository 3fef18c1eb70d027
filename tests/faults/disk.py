"""A small disk that a test fills."""

from __future__ import annotations

import shutil
from pathlib import Path


def fill(disk: Path, leave: int = 0) -> None:
    """Fill the disk up to so many bytes."""
    with (disk / "ballast").open("wb") as file:
        file.write(b"\0" * max(shutil.disk_usage(disk).free - leave, 0))
