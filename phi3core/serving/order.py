"""What a model server is told of the version that it is to serve, and of the cell that it is to do it in."""

from __future__ import annotations

from typing import Any

from phi3core.access.model_rights import load_rights
from phi3core.cell import cell
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import memory

FILE = 1_000_000_000
"""Bytes of the largest file that a model server may write."""


def make_order(settings: Settings, version: Version, need: int) -> dict[str, Any]:
    """The order, without the folder of the version's files: see child/main.py.

    Args:
        need: bytes of memory that the version is estimated to take.

    Raises:
        BadInput: the secrets file can't be understood.
    """
    network = load_rights(settings, version.name).network
    limits = {"network": network, "memory": 0 if version.wrapper else memory.ceiling(need), "file_size": FILE}
    return {
        "ref": version.ref,
        "names": [version.ref],
        "local": True,
        "trusted": version.name in settings.trusted,
        "network": network,
        "cell": None if cell.why_none() else limits,
        **{name: getattr(settings, name) for name in ("parallel", "queue", "strict")},
    }
