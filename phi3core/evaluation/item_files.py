"""Items read from files that people have: CSV, JSON lines, and OpenAI messages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from phi3core.errors import BadInput

from .item_fields import TEXTS, parse_fields, parse_json
from .items import Expectations, Item, check_items, parse_item

_MOST_BYTES = 10_000_000
_COLUMNS = ("id", "prompt", "system", "tags", *Expectations.model_fields)


def read_items(name: str, data: bytes) -> list[Item]:
    """The items of a file.

    ``.csv``: a column `prompt`; others by the names of the expectations, and `id`, `system` and `tags`; `contains` and
    `tags` take several, between bars (``|``). ``.jsonl``, ``.json``: objects with `prompt` or `messages`, or lists of
    OpenAI messages.

    Args:
        name: the file's name, whose ending tells its form.

    Raises:
        BadInput: what is wrong, and in which line.
    """
    if len(data) > _MOST_BYTES:
        raise BadInput(f"{name} is larger than {_MOST_BYTES // 1_000_000} MB.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is no text in UTF-8.") from error
    readers = {".csv": _from_csv, ".jsonl": _from_jsonl, ".json": _from_json}
    read = readers.get(PurePath(name).suffix.lower())
    if read is None:
        raise BadInput(f"{name} tells no form: its name must end in {', '.join(readers)}.")
    parse = parse_fields if read is _from_csv else parse_item
    items = [parse(plain, where, number) for number, (where, plain) in enumerate(read(text), start=1)]
    check_items(items)
    return items


def _from_jsonl(text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"Line {number}", _messages_or_object(parse_json(line, f"Line {number}"))


def _from_json(text: str) -> Iterator[tuple[str, Any]]:
    found = parse_json(text, "The file")
    many = found if isinstance(found, list) and not _are_messages(found) else [found]
    for number, one in enumerate(many, start=1):
        yield f"Item {number}", _messages_or_object(one)


def _are_messages(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(one, dict) and "role" in one for one in found)


def _messages_or_object(found: Any) -> Any:
    """OpenAI messages as an item; an assistant's last word is what the answer is compared with."""
    if isinstance(found, str):
        return {"prompt": found}
    if isinstance(found, dict) and _are_messages(found.get("messages")) and "expectations" not in found:
        rest = {name: found[name] for name in ("id", "tags") if name in found}
        return rest | _messages_or_object(found["messages"])
    if not _are_messages(found):
        return found
    plain: dict[str, Any] = {"messages": [{"role": one["role"], "content": one.get("content")} for one in found]}
    if len(found) > 1 and found[-1]["role"] == "assistant":
        plain = {"messages": plain["messages"][:-1], "expectations": {"reference": found[-1].get("content")}}
    return plain


def _from_csv(text: str) -> Iterator[tuple[str, Any]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise BadInput(f"The file is no CSV: {error}.") from error
    given = set(rows[0]) if rows else set()
    if "prompt" not in given:
        raise BadInput("The first line must name the columns, one of them “prompt”.")
    if unknown := sorted(str(name) for name in given - set(_COLUMNS)):
        raise BadInput(f"The column “{unknown[0]}” means nothing here. Known are {', '.join(_COLUMNS)}.")
    for number, row in enumerate(rows, start=2):
        if any(value is None for value in row.values()) or None in row:
            raise BadInput(f"Line {number} has not as many columns as the first line.")
        yield f"Line {number}", _from_row({name: value for name, value in row.items() if value})


def _from_row(row: dict[str, str]) -> dict[str, Any]:
    """The fields of a line."""
    messages = [{"role": "system", "content": row["system"]}] if "system" in row else []
    fields: dict[str, Any] = {name: row[name] for name in ("id", *TEXTS) if name in row}
    for name in ("contains", "tags"):
        fields[name] = [part.strip() for part in row.get(name, "").split("|") if part.strip()]
    return fields | {"messages": [*messages, {"role": "user", "content": row.get("prompt", "")}]}
