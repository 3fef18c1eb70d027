"""The refusal to listen beyond this machine's loopback while nothing asks who is there: no login, or no key."""

from __future__ import annotations

from typing import Final

from phi3core.errors import BadInput
from phi3core.settings import Settings

from .login import load_login

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def check_app_address(settings: Settings, address: str | None) -> None:
    """Raise BadInput where the app is to listen beyond loopback, and nobody has to sign in. None: every address."""
    if address in LOOPBACK or load_login(settings):
        return
    raise BadInput(
        f"Listening on {address or 'every address'} would let everybody in, for nobody has to sign in: write an [auth] "
        f"table with a login into {settings.secrets} (docs/operating.md has an example), or stay on 127.0.0.1. A key "
        "is not enough: it opens /v1, and the pages have no key."
    )


def check_server_address(address: str, key: str | None) -> None:
    """Raise BadInput where a model server is to listen beyond loopback, and asks for no key."""
    if address not in LOOPBACK and not key:
        raise BadInput(f"Listening on {address} lets others in: set --api-key too, or stay on 127.0.0.1.")
