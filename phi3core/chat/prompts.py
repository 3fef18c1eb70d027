"""Saved prompts in MLflow's prompt registry: named, versioned, with {{variables}}."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.clean_text import clean, one_line
from phi3core.errors import BadInput, Conflict, NotFound
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, search_pages, translate_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.]*)\s*\}\}")
_LONGEST = 100_000  # characters, MLflow's limit of a tag
_IS_PROMPT, _TEXT, _KIND = "mlflow.prompt.is_prompt", "mlflow.prompt.text", "_mlflow_prompt_type"


@dataclass(frozen=True)
class SavedPrompt:
    """A saved prompt at one version. when: it was saved, in milliseconds since 1970. note: what it is for."""

    name: str
    version: int
    text: str
    when: int
    note: str = ""
    user: str = ""

    @property
    def variables(self) -> Sequence[str]:
        """The names in {{double braces}}, in the order of their first appearance."""
        return find_variables(self.text)


def search_prompts(settings: Settings) -> Sequence[SavedPrompt]:
    """Every saved prompt at its newest version, sorted by name."""
    newest: dict[str, SavedPrompt] = {}
    for prompt in _search(settings, ""):
        if prompt.name not in newest or newest[prompt.name].version < prompt.version:
            newest[prompt.name] = prompt
    return sorted(newest.values(), key=lambda prompt: prompt.name.casefold())


def list_versions(settings: Settings, name: str) -> Sequence[SavedPrompt]:
    """All versions of one prompt, newest first. Raises NotFound."""
    found = _search(settings, f" AND name = '{name}'") if re.fullmatch(r"[\w.-]+", name) else []
    if not found:
        raise NotFound(f"There is no saved prompt “{name}” (any more).")
    return sorted(found, key=lambda prompt: prompt.version, reverse=True)


def load(settings: Settings, name: str, version: int | None = None) -> SavedPrompt:
    """A prompt, at its newest version unless another is named. Raises NotFound."""
    for prompt in list_versions(settings, name):
        if version in (None, prompt.version):
            return prompt
    raise NotFound(f"The prompt “{name}” has no version {version}.")


def save(settings: Settings, name: str, text: str, note: str = "", person: Person | None = None) -> SavedPrompt:
    """Save a text under a name: a new prompt, or its next version. Saving the same text again changes nothing.

    Raises Forbidden for a viewer, BadInput for an empty or overlong text or a name that the registry does not take,
    Conflict where a registered model has the name.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "reviewer", "saving a prompt")
    name, text = name.strip(), clean(text).replace("\x00", "")
    _check(name, text)
    try:
        newest = load(settings, name)
        if newest.text == text:
            return newest
    except NotFound:
        _check_free(settings, name)
    with translate_errors(settings):
        mlflow_client(settings).register_prompt(
            name, text, commit_message=one_line(note, 500) or None, tags={tags.USER: one_line(person.name, 250)}
        )
    return load(settings, name)


def delete(settings: Settings, name: str, person: Person | None = None) -> None:
    """Remove a prompt with all its versions. Raises NotFound, Forbidden for a viewer."""
    roles.require(person or roles.local_person(settings), "reviewer", "deleting a prompt")
    list_versions(settings, name)  # it may be a registered model's name, which must not be deleted here
    with translate_errors(settings):
        mlflow_client(settings).delete_prompt(name)


def find_variables(text: str) -> Sequence[str]:
    """The names in {{double braces}}, in the order of their first appearance."""
    return [*dict.fromkeys(_VARIABLE.findall(text))]


def fill_variables(text: str, values: dict[str, str]) -> str:
    """The text with its variables filled in, in one pass: braces inside a value stay.

    Raises BadInput naming the variables without a value.
    """
    if missing := [name for name in find_variables(text) if not values.get(name, "").strip()]:
        raise BadInput(f"Fill in {', '.join(missing)} first.")
    return _VARIABLE.sub(lambda found: values[found[1]], text)


def _check(name: str, text: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", name):
        raise BadInput("A prompt's name has letters, digits, dots, hyphens and underscores only, as in greet-briefly.")
    if not text.strip():
        raise BadInput("The prompt is empty: write something to save.")
    if len(text) > _LONGEST:
        raise BadInput(f"The prompt has {len(text):,} characters, and the registry takes {_LONGEST:,}: shorten it.")


def _check_free(settings: Settings, name: str) -> None:
    try:
        with translate_errors(settings):
            mlflow_client(settings).get_registered_model(name)
    except NotFound:
        return
    raise Conflict(f"A registered model is called “{name}”: give the prompt another name.")


def _search(settings: Settings, more: str) -> Sequence[SavedPrompt]:
    """All versions of all prompts that match, in one call a thousand."""
    where = f"tags.`{_IS_PROMPT}` = 'true'{more}"
    pages = search_pages(settings, lambda **page: mlflow_client(settings).search_model_versions(where, **page))
    # Prompts of several messages were saved elsewhere, and the message's box holds one text.
    return [_prompt(version) for page in pages for version in page if version.tags.get(_KIND, "text") == "text"]


def _prompt(version: ModelVersion) -> SavedPrompt:
    tag_values = version.tags or {}
    when, note = version.creation_timestamp or 0, version.description or ""
    return SavedPrompt(
        version.name, int(version.version), tag_values.get(_TEXT, ""), when, note, tag_values.get(tags.USER, "")
    )
