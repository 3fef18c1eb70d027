"""Prompt sets in the store: each version is a run whose artifact holds the items, named by their digest.

Saving changed items makes a new version; nothing is ever changed in one. What is read is held against its digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, NotFound, StoreError
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, search_pages, translate_errors

from .items import Item, check_items, digest_of, parse_item, to_jsonl

if TYPE_CHECKING:
    from mlflow.entities import Run

_FILE = "items.jsonl"
_SHORT = 12  # digits of a digest that a reference shows


@dataclass(frozen=True)
class PromptSet:
    """A version of a prompt set. run_id: its run, empty for one that ships with the product.

    when: milliseconds since 1970; 0 for one that ships. by: who saved it.
    """

    name: str
    digest: str
    size: int
    run_id: str = ""
    by: str = ""
    when: int = 0

    @property
    def ref(self) -> str:
        """``name@digest``, the digest cut short."""
        return f"{self.name}@{self.digest[:_SHORT]}"


def save_set(settings: Settings, name: str, items: Sequence[Item], person: Person | None = None) -> PromptSet:
    """Save items as the newest version of a set; the same items as its newest version make no other.

    Raises:
        Forbidden: the person is a viewer.
        BadInput: the name or the items are no good.
        Conflict: the name is one that ships with the product.
        StoreDown: the store does not answer.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "reviewer", "saving a prompt set")
    name = _checked_name(name)
    if name in shipped_names():
        raise Conflict(f"“{name}” ships with the product: choose another name.")
    check_items(items)
    newest = next((found for found in search_sets(settings) if found.name == name), None)
    digest = digest_of(items)
    if newest and newest.digest == digest:
        return newest
    store, home = mlflow_client(settings), experiment_id(settings, tags.PROMPT_SETS)
    with translate_errors(settings), TemporaryDirectory() as folder:
        run = store.create_run(home, run_name=name, tags={tags.PROMPT_SET: name, tags.USER: person.name})
        file = Path(folder, _FILE)
        file.write_text(to_jsonl(items), encoding="utf-8", newline="")
        store.log_artifact(run.info.run_id, str(file))
        store.set_tag(run.info.run_id, tags.ITEMS, str(len(items)))
        store.set_tag(run.info.run_id, tags.DIGEST, digest)  # last: without it the version is none
        store.set_terminated(run.info.run_id)
        return _found(store.get_run(run.info.run_id))


def search_sets(settings: Settings, versions: bool = False) -> list[PromptSet]:
    """The sets that were saved, newest first. versions: all of their versions, not only each one's newest."""
    home = experiment_id(settings, tags.PROMPT_SETS)

    def search(**page: Any) -> Any:
        return mlflow_client(settings).search_runs(
            [home], f"tags.`{tags.DIGEST}` != ''", order_by=["attributes.start_time DESC"], **page
        )

    found: list[PromptSet] = []
    for page in search_pages(settings, search):
        found += [_found(run) for run in page]
    if versions:
        return found
    newest: dict[str, PromptSet] = {}
    for one in found:
        newest.setdefault(one.name, one)
    return [*newest.values()]


def find_set(settings: Settings, ref: str) -> PromptSet:
    """The set that ``name`` (its newest version) or ``name@digest`` (six digits or more of it) means.

    Raises:
        NotFound: there is none, or none with this digest.
        StoreDown: the store does not answer.
    """
    name, _, digest = ref.strip().partition("@")
    if name in shipped_names():
        found = [_shipped(name)[0]]
    else:
        found = [one for one in search_sets(settings, versions=True) if one.name == name]
    if not found:
        known = ", ".join([*shipped_names(), *(one.name for one in search_sets(settings))])
        raise NotFound(f"There is no prompt set “{name}”. There are: {known}.")
    if not digest:
        return found[0]
    if len(digest) < 6:
        raise BadInput(f"“{ref}” names no version: give six digits of its digest or more.")
    matching = [one for one in found if one.digest.startswith(digest)]
    if not matching:
        raise NotFound(f"The prompt set “{name}” has no version {digest}. Its newest is {found[0].ref}.")
    return matching[0]


def read_set(settings: Settings, ref: str) -> tuple[PromptSet, list[Item]]:
    """A set with its items: see `find_set`. Raises StoreError where its items are not those that were saved."""
    found = find_set(settings, ref)
    if not found.run_id:
        return _shipped(found.name)
    with translate_errors(settings), TemporaryDirectory() as folder:
        text = (
            Path(mlflow_client(settings).download_artifacts(found.run_id, _FILE, folder))
            .read_bytes()
            .decode(errors="replace")
        )
    if hashlib.sha256(text.encode()).hexdigest() != found.digest:
        raise StoreError(f"The items of {found.ref} are not those that were saved: they were changed in the store.")
    return found, _parse(text, found.ref)


@cache
def shipped_names() -> tuple[str, ...]:
    """The sets that ship with the product."""
    folder = resources.files(__package__) / "shipped"
    return tuple(sorted(Path(file.name).stem for file in folder.iterdir() if file.name.endswith(".jsonl")))


@cache
def _shipped(name: str) -> tuple[PromptSet, list[Item]]:
    text = (resources.files(__package__) / "shipped" / f"{name}.jsonl").read_text("utf-8")
    items = _parse(text, name)
    return PromptSet(name, digest_of(items), len(items)), items


def _parse(text: str, where: str) -> list[Item]:
    lines = text.rstrip("\n").split("\n")  # a text may hold what splitlines() takes for the end of a line
    return [parse_item(json.loads(line), f"{where}, line {number}", number) for number, line in enumerate(lines, 1)]


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 60 or not all(letter.isalnum() or letter in " -_." for letter in name):
        raise BadInput(f"“{name[:80]}” is no name for a prompt set: take at most 60 letters, digits, blanks and - _ .")
    return name


def _found(run: Run) -> PromptSet:
    known = run.data.tags
    size = int(known[tags.ITEMS]) if known.get(tags.ITEMS, "").isdecimal() else 0  # anybody may write to the store
    by = known.get(tags.USER, "")
    return PromptSet(
        known.get(tags.PROMPT_SET, ""), known.get(tags.DIGEST, ""), size, run.info.run_id, by, run.info.start_time
    )
