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
from phi3core.links import find_link_out
from phi3core.settings import Settings
from phi3core.store.timeouts import allow_transfer_time

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

# MLflow writes it into the folder of a model that it loads, with the name that the model was asked for by. It is no
# part of what was logged, and is written anew when the model is loaded by another name.
MLFLOW_META_FILE = "registered_model_meta"
_TICK = 0.1  # seconds: no file system that this is kept on has a coarser clock

_Stat = list[int]
_Digests = dict[str, tuple[_Stat, str]]
"""The digests of a folder's files that were taken: name → what the file is recognised by, and its SHA-256."""


@dataclass(frozen=True)
class File:
    """A file of a version. path: relative, with ``/``. size: bytes. sha256: empty where it was not taken yet."""

    path: str
    size: int
    sha256: str = ""


def list_files(settings: Settings, location: Path | str, read: bool) -> list[File]:
    """The files of a folder, or below an artifact store's URI, by name.

    Args:
        location: the folder, or the URI.
        read: take the digests that were not taken yet; files elsewhere are fetched for it, all of them.

    Raises:
        NotFound: nothing is below the URI.
        StoreError: a file is being written.
        OSError: the folder can't be read. An artifact store raises errors of its own, too.
    """
    with _kept_digests(settings, location) as digests:
        if isinstance(location, Path):
            return _list_local(location, digests, read)
        return _list_remote(settings, location, digests, read)


def hash_etags(settings: Settings, uri: str) -> str:
    """SHA-256 over the ETags of an object store's files, which change with every byte; empty for other stores.

    MLflow's listing leaves them out, and its server does not pass them on.
    """
    repository: Any = _repository(settings, uri)
    if not hasattr(repository, "_get_s3_client"):
        return ""
    bucket, folder = repository.parse_s3_compliant_uri(repository.artifact_uri)
    pages = repository._get_s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/")
    etags = sorted((entry["Key"], entry["ETag"]) for page in pages for entry in page.get("Contents", ()))
    return hashing.hash_texts(*(part for entry in etags for part in entry))


def total_digest(found: list[File]) -> str:
    """The digest of all of them, as a build records it. Every one must have its own."""
    return hashing.combine_digests({file.path: file.sha256 for file in found})


@contextlib.contextmanager
def fetched_file(settings: Settings, uri: str, name: str) -> Iterator[Path]:
    """A copy of one file from an artifact store, for as long as the block runs."""
    with _copied(settings, _repository(settings, uri), name) as copy:
        yield copy


# ---------------------------------------------------------------- here


def local_files(folder: Path) -> dict[str, Path]:
    """What was logged of a folder, by relative name. Raises StoreError where a link leads out of it."""
    if link := find_link_out(folder):
        raise StoreError(f"{link} is a link out of the model's folder, and is not read. Put the file itself there.")
    return {name: path for name, path in hashing.walk_files(folder).items() if name != MLFLOW_META_FILE}


def _list_local(folder: Path, digests: _Digests, read: bool) -> list[File]:
    found = []
    for name, path in local_files(folder).items():
        stat = _stat(path)
        if name not in digests or digests[name][0] != stat:
            digests.pop(name, None)
            if read:
                digests[name] = _read(path)
        found.append(File(name, stat[0], digests[name][1] if name in digests else ""))
    return _sorted(found)


def _stat(path: Path) -> _Stat:
    """What shows that a file is still the same: a write changes ctime, even if mtime is set back afterwards."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _read(path: Path) -> tuple[_Stat, str]:
    """A file's digest, with what it is recognised by from now on. Raises StoreError for one that is being written."""
    for _ in range(3):
        before = _stat(path)
        # Another change within the same tick of the file system's clock would leave the times as they are.
        if (since := time.time() - before[2] / 1e9) < _TICK:
            time.sleep(min(max(_TICK - since, 0.0), _TICK))
        digest = hashing.hash_file(path)
        if _stat(path) == before:
            return before, digest
    raise StoreError(f"{path} is being written at this moment. Wait until it is not, and try again.")


# ---------------------------------------------------------------- elsewhere


def _list_remote(settings: Settings, uri: str, digests: _Digests, read: bool) -> list[File]:
    """The listing as the artifact store gives it. read: every file is fetched, for a name and a size prove nothing."""
    repository = _repository(settings, uri)
    found = []
    for name, size in remote_files(repository):
        if read:
            with _copied(settings, repository, name) as copy:
                size = copy.stat().st_size
                digests[name] = [size], hashing.hash_file(copy)
        stat, digest = digests.get(name, ([], ""))
        found.append(File(name, size, digest if stat == [size] else ""))
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
def _kept_digests(settings: Settings, location: Path | str) -> Iterator[_Digests]:
    """The digests that were taken earlier, to be added to; what was added is written even when something failed."""
    path = settings.home / "digests" / f"{hashing.hash_texts(settings.tracking_uri, str(location))}.json"
    digests = _read_digests(path)
    before = dict(digests)
    try:
        yield digests
    finally:
        if digests != before:
            with contextlib.suppress(OSError):  # a full disk costs time the next time, no more
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(f".{os.getpid()}-{time.time_ns()}")
                part.write_text(json.dumps(digests))
                part.replace(path)


def _read_digests(path: Path) -> _Digests:
    """None where the file is not there yet or is damaged: they are taken anew."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        return {name: (stat, str(digest)) for name, (stat, digest) in json.loads(path.read_text()).items()}
    return {}


def _sorted(found: list[File]) -> list[File]:
    return sorted(found, key=lambda file: file.path.split("/"))
