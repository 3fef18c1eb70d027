"""Changes what a person may change of a version: its description and its tags. Stages and aliases: promotion/."""

from __future__ import annotations

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, NotFound
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, notify_change, translate_errors

from . import reader
from .models import Version

_RESERVED_PREFIXES = ("phi3.", "mlflow.")


def set_description(settings: Settings, ref: str, text: str, person: Person | None = None) -> Version:
    """Give a version another description, as Markdown. Raises Forbidden, BadInput or NotFound."""
    version = _version_to_edit(settings, ref, person)
    with translate_errors(settings):
        mlflow_client(settings).update_model_version(version.name, str(version.version), text.strip())
    return _notify_and_read(settings, version)


def set_tag(settings: Settings, ref: str, key: str, value: str, person: Person | None = None) -> Version:
    """Give a version a tag, or its tag another value. Raises Forbidden, NotFound, and BadInput for a reserved tag."""
    version = _version_to_edit(settings, ref, person)
    key = _checked_key(key)
    with translate_errors(settings):
        mlflow_client(settings).set_model_version_tag(version.name, str(version.version), key, value.strip())
    return _notify_and_read(settings, version)


def delete_tag(settings: Settings, ref: str, key: str, person: Person | None = None) -> Version:
    """Take a tag away from a version. Raises Forbidden, NotFound, and BadInput for a reserved tag."""
    version = _version_to_edit(settings, ref, person)
    key = _checked_key(key)
    if key not in version.tags:
        raise NotFound(f"{version.ref} has no tag “{key}”.")
    with translate_errors(settings):
        mlflow_client(settings).delete_model_version_tag(version.name, str(version.version), key)
    return _notify_and_read(settings, version)


def _version_to_edit(settings: Settings, ref: str, person: Person | None) -> Version:
    roles.require(person or roles.local_person(settings), "releaser", f"editing {ref}")
    return reader.get_version(settings, ref)


def _checked_key(key: str) -> str:
    key = key.strip()
    if not key:
        raise BadInput("A tag needs a name.")
    if key.lower().startswith(_RESERVED_PREFIXES):
        raise BadInput(f"“{key}” can't be edited: tags that start with phi3. or mlflow. are written by the programs.")
    return key


def _notify_and_read(settings: Settings, version: Version) -> Version:
    notify_change(settings, version.name)
    return reader.get_version(settings, version.ref)
