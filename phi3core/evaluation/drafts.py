"""Prompt sets while they are edited: a file on this machine for each person and set, written with every change.

So what was written outlives the page, the browser and the app. Items are kept as `item_fields` has them, and need not
make sense before they are saved.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from phi3core.access.roles import Person
from phi3core.errors import BadInput
from phi3core.settings import Settings

from . import prompt_sets
from .item_fields import empty_fields, fields_of, parse_fields
from .prompt_sets import PromptSet


@dataclass
class Draft:
    """A set as a person is editing it.

    base: the digest of the version that was there when it was begun; empty for a new set. entries: the items' fields,
    each with a `key` that stays when its id is changed.
    """

    name: str
    base: str = ""
    entries: list[dict[str, Any]] = field(default_factory=list)

    def entry(self, key: str) -> dict[str, Any] | None:
        """The item with this key; None where it was deleted."""
        return next((entry for entry in self.entries if entry["key"] == key), None)

    def add(self, like: dict[str, Any] | None = None) -> str:
        """Add an item, empty or like another one, and return its key."""
        taken = {entry["id"] for entry in self.entries}
        number = next(number for number in range(1, len(taken) + 2) if f"{number:04d}" not in taken)
        fields = json.loads(json.dumps(like)) if like else empty_fields("")
        self.entries.append(fields | {"id": f"{number:04d}", "key": uuid.uuid4().hex[:12]})
        return str(self.entries[-1]["key"])


def begin(settings: Settings, person: Person, name: str, source: str = "") -> Draft:
    """The person's draft of a set; where there is none, a new one.

    Args:
        source: the version that it begins with; without one, it begins with an empty item.

    Raises:
        BadInput: the name is none for a set, or ships with the product.
        NotFound, StoreDown: the source can't be read.
    """
    name = prompt_sets.check_own_name(name)
    if (known := read(settings, person, name)) is not None:
        return known
    draft = Draft(name)
    if source:
        found, items = prompt_sets.read_set(settings, source)
        draft.base = found.digest if found.name == name else ""
        draft.entries = [fields_of(item) | {"key": uuid.uuid4().hex[:12]} for item in items]
    else:
        draft.add()
    _write(_path(settings, person, name), draft)
    return draft


def read(settings: Settings, person: Person, name: str) -> Draft | None:
    """The person's draft of a set, if there is one. Raises BadInput for one that is damaged."""
    path = _path(settings, person, name)
    try:
        return Draft(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise BadInput(f"The draft in {path} is damaged ({error}). Move the file away to begin anew.") from error


def names(settings: Settings, person: Person) -> list[str]:
    """The sets of which the person has a draft."""
    found = []
    for path in sorted(_path(settings, person, "").parent.glob(f"{_who(person)}-*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append(str(json.loads(path.read_text("utf-8"))["name"]))
    return found


def change(settings: Settings, person: Person, name: str, edit: Callable[[Draft], None]) -> bool:
    """Change the draft as it is on the disk now, so that two pages of one person lose nothing of each other.

    Returns:
        Whether there is a draft: another page may have saved or discarded it.
    """
    path = _path(settings, person, name)
    with FileLock(f"{path}.lock"):
        if (draft := read(settings, person, name)) is not None:
            edit(draft)
            _write(path, draft)
        return draft is not None


def save(settings: Settings, person: Person, name: str, over: bool = False) -> PromptSet:
    """Save the draft as the newest version of its set, and delete it; what was written meanwhile stays a draft.

    Args:
        over: also where another version was saved since the draft was begun.

    Raises:
        BadInput: an item is no good; the sentence names it.
        Conflict: another version was saved meanwhile.
        Forbidden, StoreDown: as `prompt_sets.save_set`.
    """
    draft = read(settings, person, name)
    if draft is None:
        raise BadInput(f"There is no draft of “{name}” (any more).")
    items = [
        parse_fields(entry, f"The item “{entry['id'] or number}”", number)
        for number, entry in enumerate(draft.entries, start=1)
    ]
    saved = prompt_sets.save_set(settings, name, items, person, None if over else draft.base)
    path = _path(settings, person, name)
    with FileLock(f"{path}.lock"):
        now = read(settings, person, name)
        if now == draft:
            path.unlink(missing_ok=True)
        elif now is not None:  # another page has written in it meanwhile
            now.base = saved.digest
            _write(path, now)
    return saved


def discard(settings: Settings, person: Person, name: str) -> None:
    """Delete the draft."""
    path = _path(settings, person, name)
    with FileLock(f"{path}.lock"):
        path.unlink(missing_ok=True)


def _path(settings: Settings, person: Person, name: str) -> Path:
    folder = settings.home / "drafts"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{_who(person)}-{_short_hash(name)}.json"


def _who(person: Person) -> str:
    return _short_hash(person.name.casefold())


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(path: Path, draft: Draft) -> None:
    part = path.with_suffix(f".{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    with part.open("w") as file:  # escapes what is not ASCII
        json.dump(asdict(draft), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
