"""Changes what a person may change of a version: its description and its tags. Each change is a record.

A tag that the model's policy asks for is evidence: an admin sets it, or a job does, past this app.
"""

from __future__ import annotations

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.clean_text import one_line
from phi3core.errors import BadInput, NotFound
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, notify_change, translate_errors

from .policy import policy
from .record import writer
from .record.model import DELETE_TAG, DESCRIBE, SET_TAG, tag_words

_RESERVED_PREFIXES = (tags.OURS, "mlflow.")
_LONGEST = 1000  # characters of a value in a record


def set_description(settings: Settings, ref: str, text: str, person: Person | None = None, reason: str = "") -> Version:
    """Give a version another description, as Markdown. Raises Forbidden, BadInput or NotFound."""
    person = _editor(settings, ref, person)
    version, text = reader.get_version(settings, ref), text.strip()
    with (
        writer.opened(
            settings, person, model=version.name, version=version.version, action=DESCRIBE, reason=reason,
            old=one_line(version.description, _LONGEST), new=one_line(text, _LONGEST),
        ),
        translate_errors(settings),
    ):  # fmt: skip
        mlflow_client(settings).update_model_version(version.name, str(version.version), text)
    return _notify_and_read(settings, version)


def set_tag(
    settings: Settings, ref: str, key: str, value: str, person: Person | None = None, reason: str = ""
) -> Version:
    """Give a version a tag, or its tag another value.

    Raises:
        Forbidden: the person is no releaser, or no admin where a policy asks for the tag.
        BadInput: the tag is the programs'.
        NotFound: there is no such version.
    """
    person = _editor(settings, ref, person)
    version, key, value = reader.get_version(settings, ref), _checked_key(key), value.strip()
    _require_for_evidence(settings, version, key, person)
    old = version.tags.get(key)
    with (
        writer.opened(
            settings, person, model=version.name, version=version.version, action=SET_TAG, reason=reason,
            old="" if old is None else tag_words(key, old), new=tag_words(key, value),
        ),
        translate_errors(settings),
    ):  # fmt: skip
        mlflow_client(settings).set_model_version_tag(version.name, str(version.version), key, value)
    return _notify_and_read(settings, version)


def delete_tag(settings: Settings, ref: str, key: str, person: Person | None = None, reason: str = "") -> Version:
    """Take a tag away from a version. Raises as `set_tag`, and NotFound where there is no such tag."""
    person = _editor(settings, ref, person)
    version, key = reader.get_version(settings, ref), _checked_key(key)
    if key not in version.tags:
        raise NotFound(f"{version.ref} has no tag “{key}”.")
    _require_for_evidence(settings, version, key, person)
    with (
        writer.opened(
            settings, person, model=version.name, version=version.version, action=DELETE_TAG, reason=reason,
            old=tag_words(key, version.tags[key]),
        ),
        translate_errors(settings),
    ):  # fmt: skip
        mlflow_client(settings).delete_model_version_tag(version.name, str(version.version), key)
    return _notify_and_read(settings, version)


def _editor(settings: Settings, ref: str, person: Person | None) -> Person:
    person = person or roles.local_person(settings)
    roles.require(person, "releaser", f"editing {ref}")
    return person


def _require_for_evidence(settings: Settings, version: Version, key: str, person: Person) -> None:
    policies = policy.read(settings, version.name)
    if key in policy.named_tags(policies) or any(one.damage for one in policies.values()):
        roles.require(person, "admin", f"changing the tag {key}, which the policy of {version.name} asks for,")


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
