"""Prompt sets in the store: each version is a run whose artifact holds the items, named by their digest.

Saving changed items makes a new version; nothing is ever changed in one. What is read is held against its digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, StoreDown, StoreError
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, search_pages, translate_errors

from . import datasets
from .items import Item, check_items, digest_of, parse_item, to_jsonl

if TYPE_CHECKING:
    from mlflow.entities import Run

_FILE = "items.jsonl"
# Experiments whose runs name the version of a set by its digest, and the tag that does.
_NAMED_IN = ((tags.EVALUATIONS, tags.DIGEST, "an evaluation"), (tags.REVIEWS, tags.SET_DIGEST, "a review"))
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


def save_set(
    settings: Settings, name: str, items: Sequence[Item], person: Person | None = None, base: str | None = None
) -> PromptSet:
    """Save items as the newest version of a set; the same items as its newest version make no other.

    Args:
        base: the digest of the version that was changed, empty for a new set; None for whatever is the newest.

    Raises:
        Forbidden: the person is a viewer.
        BadInput: the name or the items are no good.
        Conflict: the name is one that ships with the product, or the newest version is not the one that was changed.
        StoreDown: the store does not answer.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "reviewer", "saving a prompt set")
    name = check_own_name(name)
    check_items(items)
    with _lock(settings, name):
        newest = _newest(settings, name)
        if newest and newest.digest == digest_of(items):
            return newest
        if base is not None and base != (newest.digest if newest else ""):
            what = f"{newest.by or 'Another person'} has saved {newest.ref}" if newest else "The set was deleted"
            raise Conflict(f"{what} since this was begun. Look at it first, or save yours as the newest version.")
        return _save(settings, name, items, person)


def add_items(
    settings: Settings, name: str, items: Sequence[Item], person: Person | None = None
) -> tuple[PromptSet, int]:
    """Save a version of a set with these items besides its own; a set that is not there is made.

    What asks and expects the same as an item that is there is left out. An id that is taken becomes another one.

    Returns:
        The newest version, and how many items were added.

    Raises:
        Forbidden, BadInput, Conflict, StoreDown: as `save_set`.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "reviewer", "saving a prompt set")
    name = check_own_name(name)
    with _lock(settings, name):
        newest = _newest(settings, name)
        own = read_set(settings, newest.ref)[1] if newest else []
        new = _not_there_yet(own, items)
        if newest and not new:
            return newest, 0
        check_items([*own, *new])
        return _save(settings, name, [*own, *new], person), len(new)


def delete_version(settings: Settings, found: PromptSet, person: Person | None = None) -> None:
    """Delete a version of a set that nothing names; MLflow keeps the run of what was deleted until its `gc`.

    Raises:
        Forbidden: the person neither saved it nor is an admin.
        BadInput: it ships with the product.
        Conflict: an evaluation or a review is of it.
        StoreDown: the store does not answer.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "reviewer", "deleting a prompt set")
    if not found.run_id:
        raise BadInput(f"“{found.name}” ships with the product.")
    if person.name != found.by and not person.may("admin"):
        raise Forbidden(f"Only {found.by or 'an admin'}, who saved it, and an admin can delete {found.ref}.")
    store = mlflow_client(settings)
    with translate_errors(settings):
        for experiment, tag, what in _NAMED_IN:
            home = store.get_experiment_by_name(experiment)
            of_it = f"tags.`{tag}` = '{found.digest}'"
            if home and (runs := store.search_runs([home.experiment_id], of_it, max_results=1)):
                raise Conflict(f"{found.ref} can't be deleted: {what} is of it (run {runs[0].info.run_id}).")
        store.delete_run(found.run_id)


def _not_there_yet(own: Sequence[Item], items: Sequence[Item]) -> list[Item]:
    known = {_asks(item) for item in own}
    taken = {item.id for item in own}
    new: list[Item] = []
    for item in items:
        if _asks(item) in known:
            continue
        known.add(_asks(item))
        id = next(id for id in chain([item.id], (f"{len(own) + n:04d}" for n in count(1))) if id not in taken)
        taken.add(id)
        new.append(replace(item, id=id))
    return new


def _asks(item: Item) -> str:
    return json.dumps([item.messages, item.expectations], sort_keys=True)


def _newest(settings: Settings, name: str) -> PromptSet | None:
    return next((found for found in search_sets(settings) if found.name == name), None)


def _lock(settings: Settings, name: str) -> FileLock:
    """Held while the newest version is read and followed by another one."""
    return FileLock(settings.locks / f"prompt-set-{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock")


def _save(settings: Settings, name: str, items: Sequence[Item], person: Person) -> PromptSet:
    store, home = mlflow_client(settings), experiment_id(settings, tags.PROMPT_SETS)
    with translate_errors(settings), TemporaryDirectory() as folder:
        run = store.create_run(home, run_name=name, tags={tags.PROMPT_SET: name, tags.USER: person.name})
        file = Path(folder, _FILE)
        file.write_text(to_jsonl(items), encoding="utf-8", newline="")
        store.log_artifact(run.info.run_id, str(file))
        store.set_tag(run.info.run_id, tags.ITEMS, str(len(items)))
        store.set_tag(run.info.run_id, tags.DIGEST, digest_of(items))  # last: without it the version is none
        store.set_terminated(run.info.run_id)
        saved = _found(store.get_run(run.info.run_id))
    with contextlib.suppress(StoreDown):  # the version is saved, and an evaluation makes what is missing of the dataset
        datasets.publish(settings, saved.ref, saved.digest, items)
    return saved


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


def all_sets(settings: Settings) -> list[PromptSet]:
    """The newest version of each set, newest first, and then the sets that ship. Raises StoreDown."""
    return [*search_sets(settings), *(_shipped(name)[0] for name in reversed(shipped_names()))]


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


def check_own_name(name: str) -> str:
    """The name without blanks around it. Raises BadInput where it is none, Conflict for that of a set that ships."""
    name = name.strip()
    if not name or len(name) > 60 or not all(letter.isalnum() or letter in " -_." for letter in name):
        raise BadInput(f"“{name[:80]}” is no name for a prompt set: take at most 60 letters, digits, blanks and - _ .")
    if name in shipped_names():
        raise Conflict(f"“{name}” ships with the product: choose another name.")
    return name


def _found(run: Run) -> PromptSet:
    known = run.data.tags
    size = int(known[tags.ITEMS]) if known.get(tags.ITEMS, "").isdecimal() else 0  # anybody may write to the store
    by = known.get(tags.USER, "")
    return PromptSet(
        known.get(tags.PROMPT_SET, ""), known.get(tags.DIGEST, ""), size, run.info.run_id, by, run.info.start_time
    )
