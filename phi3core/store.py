"""The MLflow store: a client, our experiments, and MLflow's errors in our words."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from .errors import BadInput, Conflict, NotFound, StoreDown, StoreError
from .settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient


@functools.cache
def client(settings: Settings) -> MlflowClient:
    """A client of the store, tracking and registry both. Raises StoreDown where a database can't be opened."""
    import mlflow

    # Stages are deprecated, and we know: the alias is our truth (docs/decisions/0002).
    warnings.filterwarnings(
        "ignore", message=".*(transition_model_version_stage|latest_versions)", category=FutureWarning
    )
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its notices are not for the people we talk to
    mlflow.set_tracking_uri(settings.tracking_uri)
    mlflow.set_registry_uri(settings.tracking_uri)
    try:
        with errors(settings):
            if settings.artifacts:
                # Two processes that create the tables of a new store at once would break each other.
                with FileLock(settings.locks / "store.lock"):
                    mlflow.MlflowClient(settings.tracking_uri).search_experiments(max_results=1)
            return mlflow.MlflowClient(settings.tracking_uri)
    except OSError as error:  # the folder of a SQLite file can't be made
        raise StoreDown(_down(settings, str(error))) from error


def experiment(settings: Settings, name: str) -> str:
    """The id of one of our experiments, created when it is not there yet."""
    from mlflow.exceptions import MlflowException

    store = client(settings)
    with errors(settings):
        found = store.get_experiment_by_name(name)
        if found is None:
            location = (settings.artifacts / name).as_uri() if settings.artifacts else None
            try:
                return str(store.create_experiment(name, artifact_location=location))
            except MlflowException:
                found = store.get_experiment_by_name(name)  # somebody else was faster
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise Conflict(
                f"The experiment “{name}” was deleted, and a deleted experiment keeps its name. "
                f"Restore it (mlflow experiments restore -x {found.experiment_id}) and try again."
            )
        return str(found.experiment_id)


@contextlib.contextmanager
def errors(settings: Settings) -> Iterator[None]:
    """Translate what MLflow and its database raise: NotFound, BadInput, Conflict, StoreError or StoreDown."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        text = str(error.message).strip()
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(f"The store has no such thing: {text}") from error
        if "IntegrityError" in text:
            raise Conflict("Somebody else changed the same thing at this moment. Look, and try again.") from error
        if error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            raise BadInput(text) from error
        if error.error_code == "RESOURCE_ALREADY_EXISTS":
            raise Conflict(text) from error
        if re.search(r"Max retries|Connection|timed? ?out|OperationalError|unable to open|\b50[234]\b", text):
            raise StoreDown(_down(settings, text)) from error
        raise StoreError(f"MLflow could not do this: {text[:500]}") from error
    except Exception as error:
        # SQLAlchemy's and requests' errors reach us raw now and then; neither is imported for this alone.
        if type(error).__module__.split(".")[0] in ("sqlalchemy", "sqlite3", "requests", "urllib3"):
            raise StoreDown(_down(settings, str(error))) from error
        raise


def _down(settings: Settings, text: str) -> str:
    first = (text.splitlines() or [""])[0][:200]
    said = (
        f"The MLflow store at {settings.tracking_uri} does not answer ({first}). "
        "Check that it runs and that MLFLOW_TRACKING_URI is right, then try again."
    )
    return without_password(said, settings.tracking_uri)


def without_password(text: str, uri: str) -> str:
    """The text without the password that the URI holds, if it holds one."""
    password = urlsplit(uri).password
    return text.replace(f":{password}@", ":…@") if password else text
