"""Registers a copy, in this store or in another one: in one call, with tags and description.

Tags that the other model's policy asks for stay behind, unless the programs wrote them: there they are evidence, which
somebody else has to give.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from phi3core import tags
from phi3core.errors import Conflict, Phi3Error
from phi3core.settings import Settings
from phi3core.store.client import translate_errors

from .policy import policy

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register(
    store: MlflowClient,
    place: Settings,
    name: str,
    source: str,
    tag_values: dict[str, str],
    description: str,
    run_id: str = "",
    model_id: str = "",
) -> int:
    """One call, and the version's number; a registered model that was made for it alone goes again when it fails.

    Args:
        place: for the errors.
    """
    made = False
    with contextlib.suppress(Conflict), translate_errors(place):
        store.create_registered_model(name)
        made = True
    tag_values = _without_evidence(store, place, name, tag_values)
    model_id = model_id or (source.removeprefix("models:/") if source.startswith("models:/m-") else "")
    try:
        with translate_errors(place):
            registered = store.create_model_version(
                name, source, run_id or None, tags=tag_values,
                description=description or None,
                model_id=model_id or None,
            )  # fmt: skip
    except BaseException:
        if made:
            with contextlib.suppress(Phi3Error), translate_errors(place):
                if not store.search_model_versions(f"name='{name}'"):
                    store.delete_registered_model(name)
        raise
    return int(registered.version)


def _without_evidence(store: MlflowClient, place: Settings, name: str, tag_values: dict[str, str]) -> dict[str, str]:
    with translate_errors(place):
        text = str((store.get_registered_model(name).tags or {}).get(tags.POLICY, ""))
    named = policy.named_tags(policy.parse(text, name))
    return {key: value for key, value in tag_values.items() if key.startswith(tags.OURS) or key not in named}
