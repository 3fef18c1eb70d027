"""How long a request waits for the store: four seconds, once; transfers of files as long as they need.

Knows MLflow's HTTP session and its environment variables, and nothing of the requests themselves.
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
_FILES = "600"  # seconds: a server sends a file on to its object store, or gets it from there, before it answers
_FILES_AT = "/mlflow-artifacts/"  # the path under which a server takes and gives files
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}

_lock = threading.Lock()
_transfers = 0
_before: str | None = None


def silence_limit() -> float:
    """Seconds that a request waits for an answer; transfers of files wait longer."""
    with contextlib.suppress(ValueError):
        return float((_before if _transfers else os.environ.get(_TIMEOUT)) or "")
    return 4.0


@contextlib.contextmanager
def allow_transfer_time() -> Iterator[None]:
    """A transfer of files, during which a server may be silent for minutes.

    All other requests to the same server go on with their usual time-out (`never_retry_silence`).
    """
    global _transfers, _before
    with _lock:
        if _transfers == 0:
            _before = os.environ.get(_TIMEOUT)
            os.environ[_TIMEOUT] = _FILES  # MLflow reads it at every call, and has no other setting
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
    """Raise OSError where the host of the address does not resolve or takes no connection in time.

    An address without a host, such as a SQLite file's, passes. Without this check the libraries try a host's
    addresses one after the other, each with a time-out of its own, and a database's driver waits for minutes.
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
    """Have MLflow's HTTP session retry a connection that broke, and never a request that timed out.

    A second try would double the wait, and repeat a change that a slow server makes after all. MLflow has no setting
    for it, so the adapters of the session that it keeps are changed; they also keep the long time-out of transfers
    from all other requests.
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
        adapter.max_retries.__class__ = OnceSilent  # every setting that MLflow gave it stays
        adapter.send = _with_own_timeout(adapter.send)


def _with_own_timeout(send: Callable[..., Any]) -> Callable[..., Any]:
    def sent(request: Any, **options: Any) -> Any:
        if _transfers and _FILES_AT not in request.url:
            options["timeout"] = silence_limit()
        return send(request, **options)

    return sent


def _port(parts: SplitResult) -> int | None:
    with contextlib.suppress(ValueError):
        return parts.port
    return None
