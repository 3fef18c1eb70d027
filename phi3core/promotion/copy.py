"""Copying a version to another registered model, or to another tracking server, with its tags and where it came from.

In the same store the copy shares the files. To another server, one that the secrets file names (`copy_targets`), a
process with that server's credentials alone sends them (`copy_sender`). Stages, aliases and conversations stay behind,
and tags that the other model's policy asks for: there they are evidence that somebody else has to give.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from phi3core import hashing, tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict
from phi3core.registry import artifacts, reader
from phi3core.registry.filelist import File, local_files
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import hide_password, mlflow_client, notify_change

from .copy_registering import register
from .copy_sender import Parcel, Report, send_apart
from .copy_targets import Target, find_target
from .record import writer

_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")


@dataclass(frozen=True)
class Copied:
    """A copy that was made. uri: of the other tracking server, without its password; empty in the same store."""

    name: str
    version: int
    uri: str

    @property
    def ref(self) -> str:
        return f"{self.name}/{self.version}"


def copy_version(
    settings: Settings,
    ref: str,
    name: str,
    person: Person,
    to: str = "",
    reason: str = "",
    report: Report = lambda *_: None,
) -> Copied:
    """Copy a version.

    Args:
        name: the registered model to copy to, made where there is none.
        to: a target of the secrets file, by its name or address; "" for this store.

    Raises Forbidden, BadInput, NotFound, Conflict, StoreDown or StoreError; what fails before the last step registers
    nothing, and its record is closed as failed.
    """
    roles.require(person, "releaser", f"copying {ref}")
    report(0.0, "Looking at the version and the place it goes to")
    version = reader.get_version(settings, ref)
    name, to = name.strip(), to.strip()
    target = find_target(settings, to) if to else None
    _check(version, name, here=target is None)
    tag_values = version.tags | _origin(settings, version, person)
    where = f"{name} at {target.address}" if target else name
    with writer.opened(
        settings, person, model=version.name, version=version.version, action="copy", old=version.ref, new=where,
        reason=reason, digest=version.tags.get(tags.DIGEST, ""),
    ) as record:  # fmt: skip
        if target:
            copied = _send(settings, version, name, target, tag_values, report)
        else:
            report(0.5, "Registering the copy")
            store, source = mlflow_client(settings), _source(version)
            number = register(store, settings, name, source, tag_values, version.description, version.run_id)
            copied = Copied(name, number, "")
            notify_change(settings, name)
        record.outcome = f"The copy is {copied.ref}."
    report(1.0, "Done")
    return copied


def _check(version: Version, name: str, here: bool) -> None:
    if not re.fullmatch(r"[^/:@\s][^/:@]{0,249}", name):
        raise BadInput("Give the registered model a name without “/”, “:” and “@”, such as phi3-edge.")
    if here and name == version.name:
        raise BadInput(f"{version.ref} is in {name} already. Give the name of another registered model.")
    if version.status not in ("", "READY"):
        raise Conflict(f"{version.ref} is not ready ({version.status}): wait until it is, or build it again.")


def _origin(settings: Settings, version: Version, person: Person) -> dict[str, str]:
    """The tags that say where a copy came from."""
    known = {
        tags.ORIGIN_VERSION: version.ref,
        tags.ORIGIN_STORE: hide_password(settings.tracking_uri, settings.tracking_uri),
        tags.ORIGIN_RUN: version.run_id,
        tags.ORIGIN_USER: person.name,
        tags.ORIGIN_TIME: datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {key: value for key, value in known.items() if value}


def _source(version: Version) -> str:
    """What a copy in the same store is made from; MLflow finds out where the files of another version are."""
    return version.source if version.source.startswith("models:/m-") else f"models:/{version.ref}"


def _send(
    settings: Settings, version: Version, name: str, target: Target, tag_values: dict[str, str], report: Report
) -> Copied:
    detail = reader.get_details(settings, version)
    report(0.05, "Fetching the files")
    folder = artifacts.download(settings, version)
    _check_digest(version, folder)
    parcel = Parcel(
        version.ref, name, str(folder), version.description, tag_values, version.metrics, detail.parameters,
        version.measured.as_tag(0) if version.measured else {},
    )  # fmt: skip
    return Copied(name, send_apart(target, parcel, report), target.address)


def _check_digest(version: Version, folder: Path) -> None:
    """What is sent must be what was registered: its tags go along and say so."""
    found = [File(name, path.stat().st_size, hashing.hash_file(path)) for name, path in local_files(folder).items()]
    if artifacts.matches_build(version, found) is False:
        raise Conflict(f"The files of {version.ref} are not what was registered: their digest differs. Build it again.")
