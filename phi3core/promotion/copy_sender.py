"""Sends a version to another tracking server: a process of its own, with that server's credentials and none of ours.

MLflow's clients find their credentials in the environment and in the home folder, whatever address they are given: the
process has neither. Files, metrics and parameters go first; registering is the last step and one call, with tags and
description, so that nothing half-done is ever registered. The job comes as a line of JSON on standard input, and what
was done goes to standard output, a line of JSON each.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3core import errors, tags
from phi3core.errors import Conflict, Phi3Error, StoreDown, StoreError
from phi3core.parent_process import on_parent_exit
from phi3core.registry.filelist import local_files, remote_files
from phi3core.settings import Settings, load_settings
from phi3core.store import timeouts
from phi3core.store.client import hide_password, translate_errors
from phi3core.timestamps import now_ms

from .copy_registering import register
from .copy_targets import Target

if TYPE_CHECKING:
    from mlflow import MlflowClient

Report = Callable[[float, str], None]
"""Called with how far it is, 0 to 1, and what is being done."""

# What a process needs to run at all, and how long MLflow waits: no credential is among them.
_PASSED = (
    "PATH", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "VIRTUAL_ENV", "PYTHONPATH", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY",
    "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
)  # fmt: skip


@dataclass(frozen=True)
class Parcel:
    """What is sent. ref: of the version here. name: of the registered model there. folder: with the files.

    measured: tags that say where its figures come from.
    """

    ref: str
    name: str
    folder: str
    description: str
    tags: dict[str, str]
    metrics: dict[str, float]
    parameters: dict[str, str]
    measured: dict[str, str]


def send_apart(target: Target, parcel: Parcel, report: Report) -> int:
    """Send it by a process that ends with this one, and return the number of the version that was made there.

    Raises Conflict, BadInput, StoreDown or StoreError; nothing is registered then.
    """
    with tempfile.TemporaryDirectory(prefix="phi3-copy-") as home:
        own = {name: os.environ[name] for name in _PASSED if name in os.environ}
        with subprocess.Popen(
            [sys.executable, "-m", "phi3core.promotion.copy_sender"],
            env=own | {"HOME": home, "USERPROFILE": home, "PHI3_HOME": home} | target.variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdin
            assert child.stdout
            child.stdin.write(json.dumps({"uri": target.uri, "parcel": asdict(parcel)}) + "\n")
            child.stdin.flush()  # and kept open: it ends when this process does
            for line in child.stdout:
                said = json.loads(line)
                if "error" in said:
                    raise getattr(errors, said["error"])(said["text"])
                if "version" in said:
                    return int(said["version"])
                report(said["share"], said["text"])
    raise StoreError(f"{parcel.ref} was not copied: the process that sent it ended. The app's log says why.")


def send(uri: str, parcel: Parcel, report: Report) -> int:
    """Send it from this process, with the credentials in its environment; as `send_apart`."""
    import mlflow

    there = replace(load_settings(), tracking_uri=uri)  # for what is said when it fails; nothing is opened with it
    with _opening(there):
        store = mlflow.MlflowClient(uri, uri)
        home = _experiment(store)
    with _logged(store, there, home, parcel) as (run_id, model_id, location):
        _upload(uri, there, Path(parcel.folder), location, lambda share, text: report(0.1 + 0.85 * share, text))
        report(0.96, "Registering the copy")
        with translate_errors(there):
            store.finalize_logged_model(model_id, "READY")
        # A database is written by this process, and MLflow looks for models:/… in this process's own store then.
        source = f"models:/{model_id}" if uri.startswith("http") else location
        return register(store, there, parcel.name, source, parcel.tags, parcel.description, run_id, model_id)


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


@contextlib.contextmanager
def _logged(store: MlflowClient, there: Settings, home: str, parcel: Parcel) -> Iterator[tuple[str, str, str]]:
    """A run and a logged model for the copy: (run id, model id, where its files go). Closed as failed on an error."""
    from mlflow.entities import Metric, Param

    with translate_errors(there):
        run_id = store.create_run(
            home, tags=parcel.tags | parcel.measured, run_name=f"copy of {parcel.ref}"
        ).info.run_id
    model: Any = None
    try:
        with translate_errors(there):
            now = now_ms()
            metrics = [Metric(key, value, now, 0) for key, value in parcel.metrics.items()]
            params = [Param(key, value) for key, value in parcel.parameters.items()]
            for start in range(0, max(len(metrics), len(params)), 100):  # MLflow takes no more at once
                store.log_batch(run_id, metrics[start : start + 100], params[start : start + 100])
            model = store.create_logged_model(home, name="model", source_run_id=run_id, tags=parcel.tags)
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


def main() -> None:
    """What `send_apart` runs."""
    job = json.loads(sys.stdin.readline())
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no part of the answer
    on_parent_exit(lambda: os._exit(1))

    def say(**words: Any) -> None:
        out.write(json.dumps(words) + "\n")

    try:
        say(version=send(job["uri"], Parcel(**job["parcel"]), lambda share, text: say(share=share, text=text)))
    except Phi3Error as error:
        say(error=type(error).__name__, text=str(error))


if __name__ == "__main__":
    main()
