"""Trust in somebody's code: a version that neither wrapper made runs only where an admin has trusted its very files.

Trust is a record with the digest of the files, and so is its end. The newest record of both decides; files that have
changed since are other files. Knows nothing of how code is kept from running: the pool asks `is_trusted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from phi3core.access import roles
from phi3core.access.model_rights import load_rights
from phi3core.access.roles import Person
from phi3core.cell import cell
from phi3core.engine.loader import needs_code
from phi3core.errors import Conflict
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
        NotFound, StoreError: there is no such version, or its files can't be read.
    """
    return _record(settings, ref, TRUST, reason, person)


def distrust(settings: Settings, ref: str, reason: str = "", person: Person | None = None) -> Version:
    """Let the code of a version run no more. A model server that runs it is stopped when it is next asked.

    Raises:
        Forbidden: the person is no admin.
        Conflict: it is not trusted.
        NotFound, StoreError: as `trust`.
    """
    return _record(settings, ref, DISTRUST, reason, person)


def is_trusted(settings: Settings, version: Version, folder: Path) -> bool:
    """Whether the code in these files, which are the version's, may run. Raises StoreError."""
    return find_trust(settings, version, artifacts.compute_folder_digest(settings, folder)) is not None


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
    judge = Trust(settings)
    asked = {"model": version.name, "version": version.version, "status": "done"}
    found = [record for action in (TRUST, DISTRUST) for record in search.every(settings, action=action, **asked)]
    counted = [record for record in found if record.digest == digest and judge.counts(record)]
    newest = max(counted, key=lambda record: record.started, default=None)
    return newest if newest and newest.action == TRUST else None


def _record(settings: Settings, ref: str, action: str, reason: str, person: Person | None) -> Version:
    person = person or roles.local_person(settings)
    roles.require(person, "admin", f"trusting the code of {ref}")
    version = reader.get_version(settings, ref)
    digest = artifacts.compute_digest(settings, version)
    if action == DISTRUST and find_trust(settings, version, digest) is None:
        raise Conflict(f"The code of {version.ref} is not trusted: there is nothing to take back.")
    writer.append(
        settings, person, model=version.name, version=version.version, action=action, reason=reason, digest=digest
    )
    notify_change(settings, version.name)
    return version
