"""Which token a hub gets: the hub at huggingface.co the one of ``HF_TOKEN``, another one what the secrets file says.

[hub]
endpoint = "https://hub.example.org"        # as HF_ENDPOINT has it
token_env = "HUB_TOKEN"                     # or token = "…"
"""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from phi3core.access.secrets_file import find_table, read_secrets
from phi3core.settings import load_settings
from phi3core.validation import Table, validate

_OWN = "https://huggingface.co"


class _Hub(Table):
    """The [hub] table."""

    endpoint: str = ""
    token: str = Field(default="", repr=False)
    token_env: str = ""


def hub_token() -> str | Literal[False] | None:
    """The token for the hub that ``HF_ENDPOINT`` names: None for the one that huggingface_hub finds, False for none.

    Raises BadInput where the secrets file can't be understood.
    """
    endpoint = (os.environ.get("HF_ENDPOINT") or _OWN).rstrip("/")
    if endpoint == _OWN:
        return None
    settings = load_settings()
    table = find_table(settings, read_secrets(settings), "hub")
    hub = validate(_Hub, table, f"{settings.secrets}, [hub]")
    own = hub.token or os.environ.get(hub.token_env, "")
    return own if own and hub.endpoint.rstrip("/") == endpoint else False
