"""Who is asked: a registered version, or an endpoint elsewhere."""

from __future__ import annotations

from phi3core.endpoints.config import Endpoint, find_endpoint
from phi3core.errors import BadInput, NotFound
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings

Target = Version | Endpoint
"""Both have a `ref`."""


def find_target(settings: Settings, ref: str) -> Target:
    """The version or endpoint that a reference means now.

    Args:
        ref: ``name/3``, ``name/Production``, ``name@alias`` or ``endpoint:NAME``.

    Raises:
        NotFound: there is none.
        BadInput: it is no reference, or the secrets file can't be understood.
        StoreDown: the store does not answer.
    """
    return find_endpoint(settings, ref) if ref.startswith("endpoint:") else reader.get_version(settings, ref)


def model_id(target: Target) -> str:
    """MLflow's id of the logged model behind a version, so that MLflow's own pages show the trace with it; or empty."""
    source = getattr(target, "source", "")
    return str(source).removeprefix("models:/") if source.startswith("models:/m-") else ""


def find_moved_version(settings: Settings, asked_ref: str, ref: str) -> str | None:
    """The version that an alias or stage means now, where that is another than the one it meant.

    Args:
        asked_ref: the reference that was asked for, such as ``phi3/Production``.
        ref: the version that it meant then.

    Returns:
        The reference of the version; None where the alias still means the same, or nothing any more.

    Raises:
        StoreDown: the store does not answer.
    """
    if not asked_ref or asked_ref == ref or ref.startswith("endpoint:"):
        return None
    try:
        now = reader.get_version(settings, asked_ref).ref
    except (NotFound, BadInput):
        return None
    return None if now == ref else now
