"""SHA-256 of files and folders, keys made of texts, and sizes in bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def hash_texts(*parts: str) -> str:
    """A key for what is made from these texts, in their order: 64 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def hash_folder(folder: Path) -> str:
    """SHA-256 over every file of a folder, by relative name and content: 64 hexadecimal digits."""
    return combine_digests({name: hash_file(path) for name, path in walk_files(folder).items()})


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combine_digests(digests: Mapping[str, str]) -> str:
    """What `hash_folder` gives for a folder with these files: relative name → SHA-256 of its content."""
    total = hashlib.sha256()
    for name in sorted(digests, key=lambda name: name.split("/")):
        total.update(name.encode() + b"\0" + bytes.fromhex(digests[name]))
    return total.hexdigest()


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in walk_files(folder).values())


def walk_files(folder: Path) -> dict[str, Path]:
    """All files below a folder, by their names relative to it, with ``/``."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
