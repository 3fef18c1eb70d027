"""Where things are: frozen settings, read from the environment once per call of `load_settings`.

Knows nothing of MLflow beyond its environment variables, and never raises at import.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from .errors import BadInput
from .private_files import make_private

# MLflow waits minutes for a dead server by default. A person is waiting here: four seconds, and store/timeouts.py sees
# to it that the second try is for what broke at once, not for a silence, and that files are given more time.
_STORE_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "4"}


@dataclass(frozen=True)
class Settings:
    """Folders and addresses of one installation.

    home: everything this machine keeps (``PHI3_HOME``, default ``.phi3``).
    tracking_uri: the MLflow store (``MLFLOW_TRACKING_URI``, default a SQLite file in home).
    cache: prepared weights, shared by all builds (``PHI3_CACHE``, default ``home/cache``).
    tracing: whether conversations are saved as traces (``PHI3_TRACING``, ``on`` or ``off``).
    private: whether conversations are read by their authors and admins alone (``PHI3_PRIVATE``).
    idle_minutes: a model server that had no request for so long is stopped (``PHI3_IDLE_MINUTES``).
    parallel, queue: how many answers one version writes at once, and how many requests may wait for one
    (``PHI3_PARALLEL``, ``PHI3_QUEUE``).
    trusted: registered models whose pickles may be loaded (``PHI3_TRUST_PICKLES``, separated by commas).
    strict: whether options that a model does not take are refused where they are left out otherwise (``PHI3_STRICT``).
    secrets: the file with the remote endpoints, the login, roles and keys (``PHI3_SECRETS``, default
    ``.streamlit/secrets.toml``).
    user: the person who works here where there is no login (``PHI3_USER``, default the system's user).
    api_key: a key of /v1 that is the local user's (``PHI3_API_KEY``).
    hosts: names under which the app may be asked for, besides loopback's and the login's (``PHI3_HOSTS``, separated
    by commas).
    artifact_hosts: hosts besides the store's that may be sent its credentials for a version's files, as ``host:port``
    (``PHI3_ARTIFACT_HOSTS``, separated by commas).
    origins: web pages of other addresses that may call /v1 from a browser, as ``https://tool.example``
    (``PHI3_ORIGINS``, separated by commas).
    record_key: what seals the records of promotions, so that they can't be forged without it (``PHI3_RECORD_KEY``).
    """

    home: Path
    tracking_uri: str
    cache: Path
    tracing: bool = True
    private: bool = False
    idle_minutes: float = 30
    parallel: int = 8
    queue: int = 32
    trusted: frozenset[str] = frozenset()
    strict: bool = False
    secrets: Path = Path(".streamlit/secrets.toml")
    user: str = ""
    api_key: str = field(default="", repr=False)
    hosts: frozenset[str] = frozenset()
    artifact_hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    record_key: str = field(default="", repr=False)

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
    def sessions(self) -> Path:
        """Sign-ins that count."""
        return self.home / "sessions"

    @property
    def artifacts(self) -> Path | None:
        """Where artifacts go when the store is our own SQLite file; None when a server decides."""
        return self.home / "artifacts" if self.tracking_uri == _default_store(self.home) else None


def _default_store(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow.db'}"


def load_settings() -> Settings:
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
        private=_flag("PHI3_PRIVATE"),
        idle_minutes=_number("PHI3_IDLE_MINUTES", Settings.idle_minutes, 0.01),
        parallel=int(_number("PHI3_PARALLEL", Settings.parallel, 1)),
        queue=int(_number("PHI3_QUEUE", Settings.queue, 0)),
        trusted=_names("PHI3_TRUST_PICKLES"),
        strict=_flag("PHI3_STRICT"),
        secrets=Path(os.environ.get("PHI3_SECRETS") or Settings.secrets).expanduser().resolve(),
        user=os.environ.get("PHI3_USER", "").strip(),
        api_key=os.environ.get("PHI3_API_KEY", ""),
        hosts=frozenset(name.lower() for name in _names("PHI3_HOSTS")),
        artifact_hosts=_names("PHI3_ARTIFACT_HOSTS"),
        origins=frozenset(_origin(name) for name in _names("PHI3_ORIGINS")),
        record_key=os.environ.get("PHI3_RECORD_KEY", ""),
    )
    _switch("PHI3_CELL")  # cell.py reads it, in processes that have no settings
    os.environ["PHI3_HOME"], os.environ["MLFLOW_TRACKING_URI"] = str(home), uri
    for name, value in _STORE_PATIENCE.items():
        os.environ.setdefault(name, value)
    # Closing a run on a server would print its address to where a command prints its JSON.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        for folder in (home, cache, settings.jobs, settings.logs, settings.tmp, settings.locks, settings.outbox):
            folder.mkdir(parents=True, exist_ok=True)
        make_private(home)
    except OSError as error:
        raise BadInput(
            f"{error.filename} can't be made ({error.strerror}): set PHI3_HOME to another folder."
        ) from error
    return settings


def _names(variable: str) -> frozenset[str]:
    return frozenset(name.strip() for name in os.environ.get(variable, "").split(",") if name.strip())


def _origin(text: str) -> str:
    """An origin as browsers write it. No “*”: whatever web page a person opens could use the models then."""
    found = re.fullmatch(r"(https?://[^/\s*@?#]+?)(:80|:443)?/?", text.lower())
    if found is None:
        raise BadInput(f"PHI3_ORIGINS has “{text}”: name each web page's address, as in https://tool.example:3000.")
    default = {"http:": ":80", "https:": ":443"}[found[1].partition("//")[0]]
    return found[1] + (found[2] if found[2] and found[2] != default else "")


def _switch(name: str) -> bool:
    text = os.environ.get(name, "on").strip().lower()
    if text not in ("on", "off"):
        raise BadInput(f"{name} is “{text}”: write on or off.")
    return text == "on"


def _flag(name: str) -> bool:
    text = os.environ.get(name, "").strip()
    if text not in ("", "0", "1"):
        raise BadInput(f"{name} is “{text}”: write 1, or 0.")
    return text == "1"


def _number(name: str, otherwise: float, least: float) -> float:
    text = os.environ.get(name, "").strip()
    try:
        value = float(text or otherwise)
    except ValueError:
        value = float("nan")
    if not value >= least:
        raise BadInput(f"{name} is “{text}”: write a number, at least {least:g}.")
    return value
