"""The MLflow store: its client, its abilities, our experiments, and MLflow's errors in our words.

A store that does not answer is reported within five seconds: a request waits for it once, four seconds, and every
further request within the next two seconds fails at once with the same sentence.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock

from phi3core import garbage
from phi3core.errors import BadInput, Conflict, NotFound, StoreDown, StoreError
from phi3core.settings import Settings

from . import timeouts

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What MLflow imports when it opens a database.
_DATABASE = (
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)
_SILENCE = 2.0  # seconds for which requests to a store that did not answer fail at once
_QUICK, _SLOW = 1.0, 2.0  # seconds for a page of results: below, the next page is larger; above, it is smaller


@dataclass(frozen=True)
class Abilities:
    """What a store knows of: Unity Catalog has no stages, Azure ML has no aliases."""

    stages: bool = True
    aliases: bool = True


_silent: dict[str, tuple[float, str]] = {}  # by address: until when requests fail at once, and with which sentence
_abilities: dict[str, Abilities] = {}
_listeners: list[Callable[[Settings, str], None]] = []


def mlflow_client(settings: Settings) -> MlflowClient:
    """A client of the store, tracking and registry both. Raises StoreDown where it can't be reached or opened."""
    until, said = _silent.get(settings.tracking_uri, (0.0, ""))
    if time.monotonic() < until:
        raise StoreDown(said)
    return _client(settings)


@functools.cache
def _client(settings: Settings) -> MlflowClient:
    remote = urlsplit(settings.tracking_uri).scheme in ("http", "https")
    garbage.import_libraries("mlflow", *(() if remote else _DATABASE))
    import mlflow

    # Stages are deprecated, and we know: the alias is our truth (docs/decisions/0002).
    warnings.filterwarnings(
        "ignore", message=".*(transition_model_version_stage|latest_versions)", category=FutureWarning
    )
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its notices are not for our users
    try:
        timeouts.check_connection(settings.tracking_uri)
        with translate_errors(settings):
            if remote:
                timeouts.never_retry_silence()
            if settings.artifacts:
                # Two processes that create the tables of a new store at once would break each other.
                with FileLock(settings.locks / "store.lock"):
                    mlflow.MlflowClient(settings.tracking_uri).search_experiments(max_results=1)
            made = mlflow.MlflowClient(settings.tracking_uri, settings.tracking_uri)
    except OSError as error:  # no way to the host, or the folder of a SQLite file can't be made
        raise StoreDown(_down(settings, str(error))) from error
    # What MLflow does without a client, such as fetching files, goes to the same store.
    mlflow.set_tracking_uri(settings.tracking_uri)
    mlflow.set_registry_uri(settings.tracking_uri)
    return made


def ensure_reachable(settings: Settings) -> None:
    """Raise StoreDown unless the store answers."""
    with translate_errors(settings):
        mlflow_client(settings).search_experiments(max_results=1)


def search_pages(settings: Settings, search: Callable[..., Any], few: int = 1000, most: int = 1000) -> Iterator[Any]:
    """The pages of one of the client's searches, each a list with a `token`. Raises as `translate_errors` does.

    Args:
        search: is called with `max_results` and `page_token`.
        few: results of the first page; the next ones grow, or shrink, so that each comes long before the time-out.
        most: results of a page at most.
    """
    token, size = None, few
    while True:
        started = time.monotonic()
        with translate_errors(settings):
            page = search(max_results=size, page_token=token)
        took = time.monotonic() - started
        yield page
        token = page.token
        if not token:
            return
        if took < _QUICK:
            size = min(2 * size, most)
        elif took > _SLOW:
            size = max(size // 2, 1)


def find_abilities(settings: Settings) -> Abilities:
    """What the store can do, found out once by asking it for a stage and an alias of a model that does not exist.

    A store that knows of them says that there is no such model; one that does not, that there is no such call. Raises
    StoreDown.
    """
    if known := _abilities.get(settings.tracking_uri):
        return known
    # MLflow's client would read the model first, fail, and never send these calls.
    store = mlflow_client(settings)._get_registry_client()  # type: ignore[no-untyped-call]
    missing = "phi3-no-such-model"
    found = Abilities(
        stages=_supports(settings, lambda: store.get_latest_versions(missing, ["Production"])),
        aliases=_supports(settings, lambda: store.get_model_version_by_alias(missing, "production")),
    )
    _abilities[settings.tracking_uri] = found
    return found


def _supports(settings: Settings, call: Callable[[], object]) -> bool:
    """Whether the store knows a call: an error about the model says yes, one about the call says no."""
    from mlflow.exceptions import MlflowException

    with translate_errors(settings):
        try:
            call()
        except MlflowException as error:
            text = str(error.message)
            # A client of Unity Catalog refuses by itself, in words only; other stores answer with a status.
            if error.error_code in ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "FEATURE_DISABLED"):
                return False
            if re.search(r"unsupported|not supported|error code (404|405|501)", text):
                return False
            if error.error_code not in (
                "RESOURCE_DOES_NOT_EXIST",
                "NOT_FOUND",
                "INVALID_PARAMETER_VALUE",
                "BAD_REQUEST",
            ):
                raise
        return True


def notify_change(settings: Settings, model: str) -> None:
    """Tell every listener that keeps a copy of the registry that this process has changed a registered model."""
    for listener in _listeners:
        listener(settings, model)


def on_registry_change(listener: Callable[[Settings, str], None]) -> None:
    """Have the listener called, in the thread that made the change, with the settings and the model's name."""
    _listeners.append(listener)


def experiment_id(settings: Settings, name: str) -> str:
    """The id of one of our experiments, created when it is not there yet."""
    from mlflow.exceptions import MlflowException

    store = mlflow_client(settings)
    with translate_errors(settings):
        found = store.get_experiment_by_name(name)
        if found is None:
            location = (settings.artifacts / name).as_uri() if settings.artifacts else None
            try:
                return str(store.create_experiment(name, artifact_location=location))
            except MlflowException:
                found = store.get_experiment_by_name(name)  # another process was faster
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise Conflict(
                f"The experiment “{name}” was deleted, and a deleted experiment keeps its name. "
                f"Restore it (mlflow experiments restore -x {found.experiment_id}) and try again."
            )
        return str(found.experiment_id)


@contextlib.contextmanager
def translate_errors(settings: Settings) -> Iterator[None]:
    """Translate what MLflow and its database raise: NotFound, BadInput, Conflict, StoreError or StoreDown."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        text = str(error.message).strip()
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(f"The store has no such thing: {text}") from error
        if re.search(r"IntegrityError|UniqueViolation", text):  # the latter is PostgreSQL's own name
            raise Conflict("Somebody else changed the same thing at this moment. Look, and try again.") from error
        if error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            raise BadInput(text) from error
        if error.error_code == "RESOURCE_ALREADY_EXISTS":
            raise Conflict(text) from error
        if broken := re.search(r"too many (500) error responses", text):
            where = hide_password(settings.tracking_uri, settings.tracking_uri)
            raise StoreError(
                f"The MLflow store at {where} failed with error {broken[1]}. Its log says more."
            ) from error
        if re.search(r"Max retries|Connection|[Tt]imed? ?out|OperationalError|unable to open|\b50[234]\b", text):
            raise StoreDown(_down(settings, text)) from error
        raise StoreError(f"MLflow could not do this: {text[:500]}") from error
    except Exception as error:
        # SQLAlchemy's and requests' errors reach us raw now and then; neither is imported for this alone.
        if type(error).__module__.split(".")[0] in ("sqlalchemy", "sqlite3", "requests", "urllib3"):
            raise StoreDown(_down(settings, str(error))) from error
        raise


def _down(settings: Settings, text: str) -> str:
    why = _why(text)
    said = (
        f"The MLflow store at {settings.tracking_uri} does not answer ({why}). "
        "Check that it runs and that MLFLOW_TRACKING_URI is right, then try again."
    )
    said = hide_password(said, settings.tracking_uri)
    if why == _slow():
        _silent[settings.tracking_uri] = time.monotonic() + _SILENCE, said
    return said


def _why(text: str) -> str:
    """What is wrong, in a few words where the cause is known."""
    for pattern, words in (
        (r"refused", "the connection is refused"),
        (r"[Tt]imed? ?out|timeout", _slow()),
        (r"not known|resolve|getaddrinfo|No address", "its name leads nowhere"),
        (r"too many (\d+) error responses", r"it answers with error \1"),
    ):
        if found := re.search(pattern, text):
            return found.expand(words)
    return (text.splitlines() or [""])[0][:200]


def _slow() -> str:
    return f"not a word within {timeouts.silence_limit():g} s"


def hide_password(text: str, uri: str) -> str:
    """The text without the password that the URI holds, if it holds one."""
    password = urlsplit(uri).password
    return text.replace(f":{password}@", ":…@") if password else text
