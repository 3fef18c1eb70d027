"""Lists a logged model's files, on this machine or elsewhere, with their digests.

A file that was read once is not read again while its size, its times and its inode stay the same. Knows nothing of
versions or registries.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3core import hashing
from phi3core.errors import NotFound, StoreError
from phi3core.settings import Settings
from phi3core.store.timeouts import allow_transfer_time

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

# MLflow writes it into the folder of whatever it loads, with the name it was asked for: it is no part of what was
# logged, and changes with the next who loads it under another name.
MLFLOW_META_FILE = "registered_model_meta"
_TICK = 0.1  # seconds: no file system that this is kept on has a coarser clock

_Stat = list[int]
_Kept = dict[str, tuple[_Stat, str]]
"""What is kept of a folder's files: name → what it is recognised by, and its digest."""


@dataclass(frozen=True)
class File:
    """A file of a version. path: relative, with ``/``. size: bytes. sha256: empty where it was not taken yet."""

    path: str
    size: int
    sha256: str = ""


def list_files(settings: Settings, place: Path | str, read: bool) -> list[File]:
    """The files of a folder, or below an artifact store's URI. read: take the digests that are not known.

    Raises NotFound, StoreError, OSError, and whatever the artifact store raises.
    """
    with _kept(settings, place) as kept:
        return _local(place, kept, read) if isinstance(place, Path) else _remote(settings, place, kept, read)


def hash_etags(settings: Settings, uri: str) -> str:
    """What an object store tells of its files besides names and sizes: it changes with every byte. "" elsewhere.

    MLflow's listing leaves it out, and its server does not pass it on.
    """
    repository: Any = _repository(settings, uri)
    if not hasattr(repository, "_get_s3_client"):
        return ""
    bucket, folder = repository.parse_s3_compliant_uri(repository.artifact_uri)
    pages = repository._get_s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/")
    told = sorted((one["Key"], one["ETag"]) for page in pages for one in page.get("Contents", ()))
    return hashing.hash_texts(*(part for one in told for part in one))


def total_digest(found: list[File]) -> str:
    """The digest of all of them, as a build records it. Every one must have its own."""
    return hashing.combine_digests({file.path: file.sha256 for file in found})


@contextlib.contextmanager
def fetched_file(settings: Settings, uri: str, name: str) -> Iterator[Path]:
    """A copy of one file from an artifact store, for as long as it is looked at."""
    with _copied(settings, _repository(settings, uri), name) as copy:
        yield copy


# ---------------------------------------------------------------- here


def local_files(folder: Path) -> dict[str, Path]:
    """What was logged of a folder, by relative name."""
    return {name: path for name, path in hashing.walk_files(folder).items() if name != MLFLOW_META_FILE}


def _local(folder: Path, kept: _Kept, read: bool) -> list[File]:
    found = []
    for name, path in local_files(folder).items():
        seen = _stat(path)
        if name not in kept or kept[name][0] != seen:
            kept.pop(name, None)
            if read:
                kept[name] = _read(path)
        found.append(File(name, seen[0], kept[name][1] if name in kept else ""))
    return _sorted(found)


def _stat(path: Path) -> _Stat:
    """What tells that a file is still the same: whoever writes to it changes ctime, even if he sets mtime back."""
    seen = path.stat()
    return [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]


def _read(path: Path) -> tuple[_Stat, str]:
    """A file's digest, with what it is recognised by from now on. Raises StoreError for one that is being written."""
    for _ in range(3):
        before = _stat(path)
        # Another change within the same tick of the file system's clock would leave the times as they are.
        if (since := time.time() - before[2] / 1e9) < _TICK:
            time.sleep(min(max(_TICK - since, 0.0), _TICK))
        taken = hashing.hash_file(path)
        if _stat(path) == before:
            return before, taken
    raise StoreError(f"{path} is being written at this moment. Wait until it is not, and try again.")


# ---------------------------------------------------------------- elsewhere


def _remote(settings: Settings, uri: str, kept: _Kept, read: bool) -> list[File]:
    """The listing as the artifact store gives it. read: every file is fetched, for a name and a size prove nothing."""
    repository = _repository(settings, uri)
    found = []
    for name, size in remote_files(repository):
        if read:
            with _copied(settings, repository, name) as copy:
                size = copy.stat().st_size
                kept[name] = [size], hashing.hash_file(copy)
        known = kept.get(name)
        found.append(File(name, size, known[1] if known and known[0] == [size] else ""))
    if not found:
        raise NotFound(f"The files are gone: {uri} holds nothing.")
    return _sorted(found)


def _repository(settings: Settings, uri: str) -> ArtifactRepository:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(uri, settings.tracking_uri, settings.tracking_uri)


def remote_files(repository: ArtifactRepository, below: str | None = None) -> Iterator[tuple[str, int]]:
    """The name and the bytes of every file that an artifact store lists."""
    for info in repository.list_artifacts(below):
        if info.is_dir:
            yield from remote_files(repository, info.path)
        elif info.path != MLFLOW_META_FILE:
            yield info.path, int(info.file_size or 0)


@contextlib.contextmanager
def _copied(settings: Settings, repository: ArtifactRepository, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=settings.tmp) as folder:
        with allow_transfer_time():
            copy = Path(repository.download_artifacts(name, folder))  # type: ignore[no-untyped-call]
        yield copy


@contextlib.contextmanager
def _kept(settings: Settings, place: Path | str) -> Iterator[_Kept]:
    """The digests of an earlier look, to be added to; what was added is written even when something failed."""
    path = settings.home / "digests" / f"{hashing.hash_texts(settings.tracking_uri, str(place))}.json"
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):  # not there yet, or damaged: they are taken anew
        before = json.loads(path.read_text())
    kept: _Kept = {}
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        kept = {name: (stat, str(taken)) for name, (stat, taken) in before.items()}
    known = dict(kept)
    try:
        yield kept
    finally:
        if kept != known:
            with contextlib.suppress(OSError):  # a full disk costs time the next time, no more
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(f".{os.getpid()}-{time.time_ns()}")
                part.write_text(json.dumps(kept))
                part.replace(path)


def _sorted(found: list[File]) -> list[File]:
    return sorted(found, key=lambda file: file.path.split("/"))
