"""The items of a prompt set: what is asked, and what is expected of the answer.

Plain data with a canonical form, whose SHA-256 is the set's digest: the same items have the same digest everywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import regex
from pydantic import Field, StringConstraints, field_validator, model_validator

from phi3core.clean_text import clean
from phi3core.errors import BadInput
from phi3core.validation import Table, validate

from . import schemas

MOST_ITEMS = 5000
"""Items in a set at most: what is more is a benchmark, and is read page by page nowhere here."""

_MOST_CHARACTERS = 100_000  # of one item, all its messages together
_MOST_EXPECTED = 20_000
_Tag = Annotated[str, StringConstraints(pattern=r"^[\w .:/-]{1,60}$")]


class Message(Table):
    """A message as OpenAI has it."""

    role: Literal["system", "user", "assistant"]
    content: str


class Expectations(Table):
    """What the answer must be like; what is left out is not asked. Each is judged by the scorer of its name.

    exact: the answer, but for case and blanks around it. contains: texts that all stand in it. regex: a pattern that
    is found in it. json_schema: it is JSON that follows the schema. number: the last number in it. reference: a good
    answer, to compare with. language: the one that it is in, by its code in ISO 639-1. criteria: what a reader looks
    at, in words.
    """

    exact: str | None = None
    contains: list[str] | None = Field(default=None, description="a list of texts")
    regex: str | None = None
    json_schema: dict[str, Any] | None = Field(default=None, description="a JSON schema, as an object")
    number: float | None = Field(default=None, allow_inf_nan=False)
    reference: str | None = None
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")] | None = Field(
        default=None, description="two small letters, such as “en”"
    )
    criteria: str | None = None

    @field_validator("regex")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                regex.compile(value)
            except (regex.error, RecursionError, OverflowError) as error:
                raise ValueError(f"The pattern “{value[:80]}” is no regular expression: {error}.") from error
        return value

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and (why := schemas.why_refused(value)):
            raise ValueError(why)
        return value


class _Item(Table):
    id: Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,60}$")] | None = None
    prompt: str | None = None
    messages: list[Message] | None = Field(default=None, description="a list of messages with a role and a content")
    expectations: Expectations = Expectations()
    tags: list[_Tag] = Field(default=[], description="a list of words of at most 60 letters")

    @model_validator(mode="after")
    def _asks_something(self) -> _Item:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("It needs a “prompt” or “messages”, one of the two.")
        messages = self.messages or [Message(role="user", content=self.prompt or "")]
        if not messages or messages[-1].role != "user" or not messages[-1].content.strip():
            raise ValueError("Its last message must be a user's, with a text.")
        if sum(len(message.content) for message in messages) > _MOST_CHARACTERS:
            raise ValueError(f"Its messages are longer than {_MOST_CHARACTERS:,} characters.")
        if len(self.expectations.model_dump_json()) > _MOST_EXPECTED:
            raise ValueError(f"What is expected is longer than {_MOST_EXPECTED:,} characters.")
        return self


@dataclass(frozen=True)
class Item:
    """One thing that is asked. id: unique in its set. messages: OpenAI's, the last one a user's.

    expectations: as in `Expectations`, only those that are given.
    """

    id: str
    messages: tuple[dict[str, str], ...]
    expectations: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """The last message's text."""
        return self.messages[-1]["content"]

    def plain(self) -> dict[str, Any]:
        """As plain data; `parse_item` is its inverse."""
        plain = {"id": self.id, "messages": list(self.messages), "expectations": self.expectations}
        return plain | ({"tags": list(self.tags)} if self.tags else {})


def parse_item(data: Any, where: str, number: int) -> Item:
    """An item of plain data: `prompt` or `messages`, `expectations`, `tags`, `id`.

    Args:
        where: what the sentence of an error begins with, such as ``line 3``.
        number: gives it an id where it has none.

    Raises:
        BadInput: what is wrong with it, and where.
    """
    if not isinstance(data, dict):
        raise BadInput(f"{where}: an item must be an object with a “prompt” or “messages”.")
    found = validate(_Item, clean(data), where)
    messages = found.messages or [Message(role="user", content=found.prompt or "")]
    return Item(
        found.id or f"{number:04d}",
        tuple(message.model_dump() for message in messages),
        found.expectations.model_dump(exclude_none=True),
        tuple(sorted(set(found.tags))),
    )


def check_items(items: Sequence[Item]) -> None:
    """Check what is to be saved as a set.

    Raises:
        BadInput: there are none or too many, two have the same id, or one could not be read or edited again.
    """
    if not items:
        raise BadInput("A prompt set needs at least one item.")
    if len(items) > MOST_ITEMS:
        raise BadInput(f"A prompt set holds at most {MOST_ITEMS:,} items, and these are {len(items):,}: split them.")
    seen: set[str] = set()
    for number, item in enumerate(items, start=1):
        if item.id in seen:
            raise BadInput(f"Two items have the id “{item.id}”: give each its own, or leave the ids out.")
        seen.add(item.id)
        parse_item(item.plain(), f"The item “{item.id}”", number)  # by which it is read again
        # The form of an item takes an empty text for one that expects nothing.
        if empty := next((name for name, value in item.expectations.items() if value in ("", [])), ""):
            raise BadInput(
                f"The item “{item.id}” expects nothing by “{empty}”: write what is expected, or leave it out."
            )


def split_items(items: Sequence[Item], share: float) -> tuple[list[Item], list[Item]]:
    """Two parts by a hash of what is asked, so that the same prompt always falls into the same part.

    Args:
        share: about how much of the items the first part has, between 0 and 1.
    """
    parts: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        asked = json.dumps(item.messages, ensure_ascii=False, sort_keys=True)
        place = int(hashlib.sha256(asked.encode()).hexdigest()[:8], 16) / 2**32
        parts[place >= share].append(item)
    return parts


def to_jsonl(items: Iterable[Item]) -> str:
    """The canonical form: a line of JSON for each item, its keys in order."""
    lines = (json.dumps(item.plain(), ensure_ascii=False, sort_keys=True) for item in items)
    return "".join(f"{line}\n" for line in lines)


def digest_of(items: Iterable[Item]) -> str:
    """The SHA-256 of the canonical form, in hexadecimal."""
    return hashlib.sha256(to_jsonl(items).encode()).hexdigest()
