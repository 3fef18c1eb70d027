"""Trust in somebody's code: a version that neither wrapper made runs only where an admin has trusted its very files.

Trust is a record with the digest of the files; files that have changed since are other files. Its end is a record too,
of whatever files of the version were trusted before. Knows nothing of how code is kept from running: the pool asks
`is_trusted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from phi3core.access import roles
from phi3core.access.model_rights import load_rights
from phi3core.access.roles import Person
from phi3core.cell import cell
from phi3core.engine.loader import is_ours, needs_code
from phi3core.errors import Conflict, StoreError
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import notify_change

from .record import search, writer
from .record.model import Record
from .record.trust import Trust

TRUST, DISTRUST = "trust", "distrust"
"""The actions of the records."""


@dataclass(frozen=True)
class CodeState:
    """What is known of a version's code here.

    needed: it can't be opened without running it. trusted: the record by which its files are trusted; None where they
    are not, or where it is not known, because the files are elsewhere and were not read yet. network: it may make
    connections. no_cell: why it runs without a cell on this machine; empty where it has one.
    """

    needed: bool
    trusted: Record | None
    network: bool
    no_cell: str


def trust(settings: Settings, ref: str, reason: str = "", person: Person | None = None) -> Version:
    """Let the code of a version run, as its files are now.

    Raises:
        Forbidden: the person is no admin.
        Conflict: it runs no code of its own.
        NotFound, StoreError: there is no such version, or its files can't be read.
    """
    person = _admin(settings, ref, person)
    version = reader.get_version(settings, ref)
    folder = artifacts.local_folder(settings, version)
    if folder and is_ours(folder) and not needs_code(folder):
        raise Conflict(f"{version.ref} runs no code of its own: it is opened on its weights, without being trusted.")
    return _record(settings, version, TRUST, reason, person, artifacts.compute_digest(settings, version))


def distrust(settings: Settings, ref: str, reason: str = "", person: Person | None = None) -> Version:
    """Let the code of a version run no more, whatever its files were when it was trusted, and whether they are there.

    A model server that runs it is stopped when it is next asked.

    Raises:
        Forbidden: the person is no admin.
        Conflict: it is not trusted, with any files.
        NotFound, StoreError: there is no such version, or the store does not answer.
    """
    person = _admin(settings, ref, person)
    version = reader.get_version(settings, ref)
    if not _in_force(settings, version):
        raise Conflict(f"The code of {version.ref} is not trusted: there is nothing to take back.")
    return _record(settings, version, DISTRUST, reason, person, "")


def is_trusted(settings: Settings, version: Version, folder: Path) -> bool:
    """Whether the code in these files, which are the version's, may run. Raises StoreError."""
    try:
        digest = artifacts.compute_folder_digest(settings, folder)
    except OSError as error:
        raise StoreError(
            f"The files of {version.ref} can't be read: {error}. Check the disk, then try again."
        ) from error
    return find_trust(settings, version, digest) is not None


def read_code_state(settings: Settings, ref: str) -> CodeState:
    """What a version's page says of its code. Raises NotFound, StoreError, or BadInput for the secrets file."""
    version = reader.get_version(settings, ref)
    folder = artifacts.local_folder(settings, version)
    needed = needs_code(folder) if folder else not version.wrapper
    digest = artifacts.read_state(settings, version).digest if needed else ""
    record = find_trust(settings, version, digest) if digest else None
    return CodeState(needed, record, load_rights(settings, version.name).network, cell.why_none())


def find_trust(settings: Settings, version: Version, digest: str) -> Record | None:
    """The record by which a version's files are trusted; None where they are not. Raises StoreError."""
    return next((record for record in _in_force(settings, version) if record.digest == digest), None)


def _in_force(settings: Settings, version: Version) -> list[Record]:
    """The records of trust in a version that were written after its last end, newest first."""
    judge = Trust(settings)
    asked = {"model": version.name, "version": version.version, "status": "done"}
    trusted, ended = (
        [record for record in search.every(settings, action=action, **asked) if judge.counts(record)]
        for action in (TRUST, DISTRUST)
    )
    # Of two in the same millisecond it is not known which was the last: the code does not run.
    return [record for record in trusted if all(record.started > end.started for end in ended)]


def _admin(settings: Settings, ref: str, person: Person | None) -> Person:
    person = person or roles.local_person(settings)
    roles.require(person, "admin", f"trusting the code of {ref}")
    return person


def _record(settings: Settings, version: Version, action: str, reason: str, person: Person, digest: str) -> Version:
    writer.append(
        settings, person, model=version.name, version=version.version, action=action, reason=reason, digest=digest
    )
    notify_change(settings, version.name)
    return version
