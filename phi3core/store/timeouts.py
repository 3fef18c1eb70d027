"""How long a store is waited for: a silence once, four seconds; files as long as they need.

Knows MLflow's HTTP session and its environment variables, and nothing of what is asked.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import SplitResult, urlsplit

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_FILES = "600"  # a server sends a file on to its object store, or gets it from there, before it says a word
_FILES_AT = "/mlflow-artifacts/"  # where a server takes and gives them
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}

_lock = threading.Lock()
_transfers = 0
_before: str | None = None


def silence_limit() -> float:
    """How long a silence is waited for, but for files."""
    with contextlib.suppress(ValueError):
        return float((_before if _transfers else os.environ.get(_TIMEOUT)) or "")
    return 4.0


@contextlib.contextmanager
def allow_transfer_time() -> Iterator[None]:
    """Files are being sent or fetched, which a server may do for minutes without a word.

    Whoever asks the same server for anything else meanwhile waits no longer than ever (`wait_once`).
    """
    global _transfers, _before
    with _lock:
        if _transfers == 0:
            _before = os.environ.get(_TIMEOUT)
            os.environ[_TIMEOUT] = _FILES  # MLflow reads it at every call, and knows no other way
        _transfers += 1
    try:
        yield
    finally:
        with _lock:
            _transfers -= 1
            if _transfers == 0:
                os.environ.pop(_TIMEOUT)
                if _before is not None:
                    os.environ[_TIMEOUT] = _before


def check_connection(uri: str) -> None:
    """Raise OSError where the address's host has none, or takes no connection in time. A file's address is no matter.

    Left alone, a host's addresses are waited for one after the other, its name server in front of them, and a
    database for minutes.
    """
    parts = urlsplit(uri)
    host, port = parts.hostname, _port(parts) or _PORTS.get(parts.scheme.split("+")[0])
    if not host or not port:
        return
    failed: list[OSError] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=silence_limit()).close()
        except OSError as error:
            failed.append(error)

    trying = threading.Thread(target=connect, daemon=True)
    trying.start()
    trying.join(silence_limit())
    if trying.is_alive():
        raise TimeoutError("timed out")
    if failed:
        raise failed[0]


def never_retry_silence() -> None:
    """Have MLflow's HTTP session try again what broke at once, and never what was silent until the time was up.

    A second try would double the wait, and do twice what a slow server does after all. There is no setting for it,
    so the adapters of the session that MLflow keeps are told; and, that the patience with files is for files alone.
    """
    import mlflow.environment_variables
    from mlflow.utils import request_utils
    from urllib3.exceptions import ConnectTimeoutError, ReadTimeoutError
    from urllib3.util import Retry

    given: Any = mlflow.environment_variables

    class OnceSilent(Retry):
        def increment(self, *args: Any, **kwargs: Any) -> OnceSilent:
            if isinstance(error := kwargs.get("error"), ReadTimeoutError | ConnectTimeoutError):
                raise error
            return super().increment(*args, **kwargs)

    kept: Any = request_utils._get_request_session
    session = kept(
        int(given.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()),
        given.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get(),
        given.MLFLOW_HTTP_REQUEST_BACKOFF_JITTER.get(),
        request_utils._TRANSIENT_FAILURE_RESPONSE_CODES,
        True,
        given.MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER.get(),
    )
    for scheme in ("http://", "https://"):
        adapter = session.get_adapter(scheme)
        adapter.max_retries.__class__ = OnceSilent  # every setting that MLflow made of it stays
        adapter.send = _impatient(adapter.send)


def _impatient(send: Callable[..., Any]) -> Callable[..., Any]:
    def sent(request: Any, **options: Any) -> Any:
        if _transfers and _FILES_AT not in request.url:
            options["timeout"] = silence_limit()
        return send(request, **options)

    return sent


def _port(parts: SplitResult) -> int | None:
    with contextlib.suppress(ValueError):
        return parts.port
    return None
