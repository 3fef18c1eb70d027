"""Symbolic links in a model's folder: where they lead, and that they do not lead out of it.

A link that leads out would have this app read, show and copy whatever its user may read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def find_link_out(folder: Path) -> Path | None:
    """A link somewhere in the folder that leads out of it; None where there is none.

    The folder of a revision in the Hugging Face cache is made of links, which lead to files of the same repository.
    """
    inside = _root(folder.resolve())
    return next((link for link in _links(folder) if not _leads_into(link, inside)), None)


def linked_files(folder: Path) -> list[Path]:
    """The files that links in the folder lead to, each without links of its own."""
    return sorted({link.resolve() for link in _links(folder)})


def _leads_into(link: Path, folder: Path) -> bool:
    try:
        return link.resolve().is_relative_to(folder)
    except (OSError, RuntimeError):  # it leads to itself
        return False


def _links(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_symlink())


def _root(folder: Path) -> Path:
    for above in folder.parents:
        if above.name == "snapshots" and (above.parent / "blobs").is_dir():
            return above.parent
    return folder
