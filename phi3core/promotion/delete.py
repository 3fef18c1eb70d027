"""Deleting a version for good: one that has no stage, no alias and no waiting request."""

from __future__ import annotations

from collections.abc import Iterable

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict
from phi3core.promotion.policy import requests
from phi3core.promotion.policy.request_status import Request
from phi3core.promotion.record.timeline import MOVES
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.registry.reference import parse_reference
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, notify_change, translate_errors

from .aliases import EXCLUSIVE_STAGES, locked
from .reconcile import repair
from .record import writer


def delete_version(settings: Settings, ref: str, reason: str, person: Person | None = None) -> None:
    """Delete a version for good. Raises Forbidden, NotFound, BadInput without a reason, Conflict where it is needed."""
    person = person or roles.local_person(settings)
    roles.require(person, "admin", f"deleting {ref}")
    if not reason.strip():
        raise BadInput("Say why it is deleted: it is kept on the record.")
    name = parse_reference(ref).name
    with locked(settings, name):
        repair(settings, name)
        version = reader.get_version(settings, ref)
        with writer.opened(
            settings, person, model=name, version=version.version, action="delete", old=version.mlflow_stage,
            reason=reason, digest=version.tags.get(tags.DIGEST, ""),
        ) as record:  # fmt: skip
            # After the record is open: a promotion or an alias of the version that begins now sees it, and waits.
            if busy := writer.at_work(settings, name, (*MOVES, "set alias"), record.id):
                raise Conflict(
                    f"{busy[0].user} is at work on {name} ({busy[0].says}). Wait for it, look and try again."
                )
            if refused := why_not_deleted(settings, reader.get_version(settings, version.ref)):
                raise Conflict(refused)
            with translate_errors(settings):
                mlflow_client(settings).delete_model_version(name, str(version.version))
            record.outcome = f"{version.ref} is deleted."
        notify_change(settings, name)


def why_not_deleted(settings: Settings, version: Version, asked: Iterable[Request] | None = None) -> str:
    """Why a version can't be deleted, as a sentence that says what to do; "" when it can.

    asked: the requests of its model; read where they are not given.
    """
    if version.stage in EXCLUSIVE_STAGES:
        return f"{version.ref} is in {version.stage}. Move another version there first, or archive this one."
    own = [alias for alias in version.aliases if alias not in tags.RESERVED_ALIASES]
    if own:
        named = ", ".join(f"@{alias}" for alias in own)
        return f"{version.ref} has the alias {named}. Remove it first, or archive the version instead."
    asked = requests.of_model(settings, version.name) if asked is None else asked
    waiting = [request for request in asked if request.version == version.version and request.is_waiting]
    if waiting:
        return (
            f"{version.ref} is under review: {waiting[0].by} asked for its promotion to {waiting[0].stage}. "
            "Reject or withdraw the request first."
        )
    return ""
