"""Where things are: frozen settings, read from the environment once per call of `load`.

Knows nothing of MLflow beyond its environment variables, and never raises at import.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import BadInput

# MLflow waits minutes for a dead server by default. A person is waiting here: two tries, ten seconds each.
_STORE_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@dataclass(frozen=True)
class Settings:
    """Folders and addresses of one installation.

    home: everything this machine keeps (``PHI3_HOME``, default ``.phi3``).
    tracking_uri: the MLflow store (``MLFLOW_TRACKING_URI``, default a SQLite file in home).
    cache: prepared weights, shared by all builds (``PHI3_CACHE``, default ``home/cache``).
    tracing: whether conversations are saved as traces (``PHI3_TRACING``, ``on`` or ``off``).
    idle_minutes: a model server that nobody asked for so long is stopped (``PHI3_IDLE_MINUTES``).
    parallel, queue: how many answers one version writes at once, and how many requests may wait for one
    (``PHI3_PARALLEL``, ``PHI3_QUEUE``).
    trusted: registered models whose pickles may be loaded (``PHI3_TRUST_PICKLES``, separated by commas).
    secrets: the file with the remote endpoints and their keys (``PHI3_SECRETS``, default ``.streamlit/secrets.toml``).
    """

    home: Path
    tracking_uri: str
    cache: Path
    tracing: bool = True
    idle_minutes: float = 30
    parallel: int = 8
    queue: int = 32
    trusted: frozenset[str] = frozenset()
    secrets: Path = Path(".streamlit/secrets.toml")

    @property
    def jobs(self) -> Path:
        return self.home / "jobs"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def tmp(self) -> Path:
        return self.home / "tmp"

    @property
    def locks(self) -> Path:
        return self.home / "locks"

    @property
    def outbox(self) -> Path:
        """Turns and feedback that the store has not taken yet."""
        return self.home / "outbox"

    @property
    def artifacts(self) -> Path | None:
        """Where artifacts go when the store is our own SQLite file; None when a server decides."""
        return self.home / "artifacts" if self.tracking_uri == _default_store(self.home) else None


def _default_store(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow.db'}"


def load() -> Settings:
    """Read the settings and hand MLflow its part of them, by environment so that children inherit it.

    A relative ``PHI3_HOME`` is made absolute, because children and MLflow run in other folders.
    """
    home = Path(os.environ.get("PHI3_HOME") or ".phi3").expanduser().resolve()
    cache = Path(os.environ.get("PHI3_CACHE") or home / "cache").expanduser().resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or _default_store(home)
    settings = Settings(
        home=home,
        tracking_uri=uri,
        cache=cache,
        tracing=_switch("PHI3_TRACING"),
        idle_minutes=_number("PHI3_IDLE_MINUTES", Settings.idle_minutes, 0.01),
        parallel=int(_number("PHI3_PARALLEL", Settings.parallel, 1)),
        queue=int(_number("PHI3_QUEUE", Settings.queue, 0)),
        trusted=frozenset(name.strip() for name in os.environ.get("PHI3_TRUST_PICKLES", "").split(",") if name.strip()),
        secrets=Path(os.environ.get("PHI3_SECRETS") or Settings.secrets).expanduser().resolve(),
    )
    os.environ["PHI3_HOME"], os.environ["MLFLOW_TRACKING_URI"] = str(home), uri
    for name, value in _STORE_PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        for folder in (home, cache, settings.jobs, settings.logs, settings.tmp, settings.locks, settings.outbox):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"{error.filename} can't be made ({error.strerror}): set PHI3_HOME to another folder."
        ) from error
    return settings


def _switch(name: str) -> bool:
    text = os.environ.get(name, "on").strip().lower()
    if text not in ("on", "off"):
        raise BadInput(f"{name} is “{text}”: write on or off.")
    return text == "on"


def _number(name: str, otherwise: float, least: float) -> float:
    text = os.environ.get(name, "").strip()
    try:
        value = float(text or otherwise)
    except ValueError:
        value = float("nan")
    if not value >= least:
        raise BadInput(f"{name} is “{text}”: write a number, at least {least:g}.")
    return value
