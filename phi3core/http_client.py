"""HTTP as a client: requests to servers on this machine, and ending a request from another thread."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2


@cache
def local_client() -> httpx2.Client:
    """The client for servers on this machine; each request names its own timeout.

    It takes no proxy from the environment, follows no redirect (the key would be sent along) and keeps no connection:
    one that is kept may have been closed by a server that ended meanwhile.
    """
    import httpx2

    return httpx2.Client(
        trust_env=False, verify=False, follow_redirects=False, limits=httpx2.Limits(max_keepalive_connections=0)
    )


def trace_socket(connected: Callable[[socket.socket | None], object]) -> Callable[[str, dict[str, Any]], None]:
    """A request's ``trace`` extension, which calls ``connected`` with the socket of each connection as it stands."""

    def trace(event: str, info: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            connected(info["return_value"].get_extra_info("socket"))

    return trace


def shut_down(connection: socket.socket | None) -> None:
    """End a connection that another thread reads: closing its response or its client would not wake the reader."""
    if connection is not None:
        with contextlib.suppress(OSError, ValueError):
            # Not SSLSocket's own shutdown, which takes the encryption away from under the reader.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
