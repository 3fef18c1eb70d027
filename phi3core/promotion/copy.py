"""Copying a version to another registered model, or to another tracking server, with its tags and where it came from.

In the same store the copy shares the files. To another server its files, metrics and parameters are sent first;
registering is the last step and one call, with tags and description, so that nothing half-done is ever registered.
Stages, aliases and conversations stay behind.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from phi3core import hashing, tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Phi3Error, StoreDown, StoreError
from phi3core.registry import artifacts, reader
from phi3core.registry.filelist import File, local_files, remote_files
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store import timeouts
from phi3core.store.client import hide_password, mlflow_client, notify_change, translate_errors
from phi3core.timestamps import now_ms

from .record import writer

if TYPE_CHECKING:
    from mlflow import MlflowClient

Report = Callable[[float, str], None]
"""Called with how far it is, 0 to 1, and what is being done."""

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
    """Copy a version. name: the registered model to copy to, made where there is none. to: another tracking URI.

    Raises Forbidden, BadInput, NotFound, Conflict, StoreDown or StoreError; what fails before the last step registers
    nothing, and its record is closed as failed.
    """
    roles.require(person, "releaser", f"copying {ref}")
    report(0.0, "Looking at the version and the place it goes to")
    version = reader.get_version(settings, ref)
    name, to = name.strip(), to.strip().rstrip("/")
    _check(settings, version, name, to)
    tag_values = version.tags | _origin(settings, version, person)
    where = f"{name} at {hide_password(to, to)}" if to else name
    with writer.opened(
        settings, person, model=version.name, version=version.version, action="copy", old=version.ref, new=where,
        reason=reason, digest=version.tags.get(tags.DIGEST, ""),
    ) as record:  # fmt: skip
        if to:
            copied = _send(settings, version, name, to, tag_values, report)
        else:
            report(0.5, "Registering the copy")
            copied = Copied(
                name, _register(mlflow_client(settings), settings, name, version, _source(version), tag_values), ""
            )
            notify_change(settings, name)
        record.outcome = f"The copy is {copied.ref}."
    report(1.0, "Done")
    return copied


def _check(settings: Settings, version: Version, name: str, to: str) -> None:
    if not re.fullmatch(r"[^/:@\s][^/:@]{0,249}", name):
        raise BadInput("Give the registered model a name without “/”, “:” and “@”, such as phi3-edge.")
    here = to in ("", settings.tracking_uri.rstrip("/"))
    if here and to:
        raise BadInput("That is this store. Choose “This store”, or give the address of another one.")
    if here and name == version.name:
        raise BadInput(f"{version.ref} is in {name} already. Give the name of another registered model.")
    if version.status not in ("", "READY"):
        raise Conflict(f"{version.ref} is not ready ({version.status}): wait until it is, or build it again.")
    if not to:
        return
    scheme = urlsplit(to).scheme.split("+")[0]
    if scheme not in _SCHEMES:
        raise BadInput(f"“{to}” is no tracking URI. Write the address of an MLflow server, as in http://mlflow:5000.")
    if scheme == "sqlite" and not Path(to.removeprefix("sqlite:///")).is_file():
        raise BadInput(f"There is no MLflow store in {to.removeprefix('sqlite:///')}. Start one there first.")


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


def _register(
    store: MlflowClient,
    place: Settings,
    name: str,
    version: Version,
    source: str,
    tag_values: dict[str, str],
    run_id: str = "",
    model_id: str = "",
) -> int:
    """One call; a registered model that was made for it alone goes again when it fails. place: for the errors."""
    made = False
    with contextlib.suppress(Conflict), translate_errors(place):
        store.create_registered_model(name)
        made = True
    model_id = model_id or (source.removeprefix("models:/") if source.startswith("models:/m-") else "")
    try:
        with translate_errors(place):
            registered = store.create_model_version(
                name, source, run_id or version.run_id or None, tags=tag_values,
                description=version.description or None,
                model_id=model_id or None,
            )  # fmt: skip
    except BaseException:
        if made:
            with contextlib.suppress(Phi3Error), translate_errors(place):
                if not store.search_model_versions(f"name='{name}'"):
                    store.delete_registered_model(name)
        raise
    return int(registered.version)


# ---------------------------------------------------------------- to another tracking server


def _send(
    settings: Settings, version: Version, name: str, to: str, tag_values: dict[str, str], report: Report
) -> Copied:
    import mlflow

    there = replace(settings, tracking_uri=to)  # for what is said when it fails; nothing is opened with it
    with _opening(there):
        store = mlflow.MlflowClient(to, to)  # never mlflow_client(): it makes a store the current one of this process
        home = _experiment(store)
    detail = reader.get_details(settings, version)
    report(0.05, "Fetching the files")
    folder = artifacts.download(settings, version)
    _check_digest(version, folder)
    with _logged(store, there, home, version, detail.parameters, tag_values) as (run_id, model_id, location):
        _upload(to, there, folder, location, lambda share, text: report(0.1 + 0.85 * share, text))
        report(0.96, "Registering the copy")
        with translate_errors(there):
            store.finalize_logged_model(model_id, "READY")
        # A database is written by this process, and MLflow looks for models:/… in this process's own store then.
        source = f"models:/{model_id}" if to.startswith("http") else location
        number = _register(store, there, name, version, source, tag_values, run_id, model_id)
    return Copied(name, number, hide_password(to, to))


@contextlib.contextmanager
def _opening(there: Settings) -> Iterator[None]:
    """A store that can't be opened is told by its address, whatever its driver raises."""
    try:
        timeouts.check_connection(there.tracking_uri)
        with translate_errors(there):
            yield
    except Phi3Error:
        raise
    except Exception as error:  # a driver that is not installed, a host that does not resolve, …
        uri = hide_password(there.tracking_uri, there.tracking_uri)
        raise StoreDown(f"{uri} can't be opened ({type(error).__name__}: {str(error)[:200]}).") from error


def _experiment(store: MlflowClient) -> str:
    from mlflow.exceptions import MlflowException

    found = store.get_experiment_by_name(tags.COPIES)
    if found is None:
        try:
            return str(store.create_experiment(tags.COPIES))
        except MlflowException:
            found = store.get_experiment_by_name(tags.COPIES)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise Conflict(f"The other store's experiment “{tags.COPIES}” was deleted: restore it there, and try again.")
    return str(found.experiment_id)


def _check_digest(version: Version, folder: Path) -> None:
    """What is sent must be what was registered: its tags go along and say so."""
    found = [File(name, path.stat().st_size, hashing.hash_file(path)) for name, path in local_files(folder).items()]
    if artifacts.matches_build(version, found) is False:
        raise Conflict(f"The files of {version.ref} are not what was registered: their digest differs. Build it again.")


@contextlib.contextmanager
def _logged(
    store: MlflowClient,
    there: Settings,
    home: str,
    version: Version,
    parameters: dict[str, str],
    tag_values: dict[str, str],
) -> Iterator[tuple[str, str, str]]:
    """A run and a logged model for the copy: (run id, model id, where its files go). Closed as failed on an error."""
    from mlflow.entities import Metric, Param

    with translate_errors(there):
        measured = version.measured.as_tag(0) if version.measured else {}
        run_id = store.create_run(home, tags=tag_values | measured, run_name=f"copy of {version.ref}").info.run_id
    model: Any = None
    try:
        with translate_errors(there):
            now = now_ms()
            metrics = [Metric(key, value, now, 0) for key, value in version.metrics.items()]
            params = [Param(key, value) for key, value in parameters.items()]
            for start in range(0, max(len(metrics), len(params)), 100):  # MLflow takes no more at once
                store.log_batch(run_id, metrics[start : start + 100], params[start : start + 100])
            model = store.create_logged_model(home, name="model", source_run_id=run_id, tags=tag_values)
        yield run_id, str(model.model_id), str(model.artifact_location)
        with translate_errors(there):
            store.set_terminated(run_id)
    except BaseException:
        with contextlib.suppress(Phi3Error), translate_errors(there):
            if model is not None and not store.search_model_versions(f"run_id='{run_id}'"):
                store.delete_logged_model(model.model_id)
            store.set_terminated(run_id, "FAILED")
        raise


def _upload(to: str, there: Settings, folder: Path, location: str, report: Report) -> None:
    """Send every file, then read the listing back: a copy that lacks one is not registered."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    sizes = {name: path.stat().st_size for name, path in sorted(local_files(folder).items())}
    total, sent = max(sum(sizes.values()), 1), 0
    with _opening(there), timeouts.allow_transfer_time():
        place = get_artifact_repository(location, to, to)
        for name, size in sizes.items():
            report(sent / total, f"Sending {name} ({size / 1e6:,.1f} MB)")
            parent = name.rpartition("/")[0]
            place.log_artifact(str(folder / name), parent or None)  # type: ignore[no-untyped-call]
            sent += size
        report(1.0, "Reading back what was sent")
        arrived = dict(remote_files(place))
    for name, size in sizes.items():
        if arrived.get(name) != size:
            raise StoreError(f"{name} did not arrive whole ({arrived.get(name, 0):,} of {size:,} bytes). Try again.")
