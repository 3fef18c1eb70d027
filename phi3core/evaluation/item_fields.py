"""Items as people write them: a text for each expectation, as a form and the columns of a table have it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from phi3core.errors import BadInput

from .items import Item, parse_item

TEXTS = ("exact", "regex", "number", "json_schema", "reference", "language", "criteria")
"""The expectations that are written as one text; `contains` takes several."""


def empty_fields(id: str) -> dict[str, Any]:
    """The fields of an item that asks nothing yet."""
    return fields_of(Item(id, ({"role": "user", "content": ""},)))


def fields_of(item: Item) -> dict[str, Any]:
    """An item as fields: `id`, `messages`, `tags` and `contains` as lists, and a text for each other expectation."""
    expected = item.expectations
    fields: dict[str, Any] = {"id": item.id, "messages": [dict(message) for message in item.messages]}
    fields |= {"tags": [*item.tags], "contains": [*expected.get("contains", [])]}
    return fields | {name: _as_text(expected.get(name)) for name in TEXTS}


def parse_fields(fields: Mapping[str, Any], where: str, number: int) -> Item:
    """The item that fields describe; a text that is empty or left out expects nothing.

    Args:
        where: what the sentence of an error begins with.
        number: gives it an id where it has none.

    Raises:
        BadInput: what is wrong with it, and where.
    """
    expected: dict[str, Any] = {
        name: fields[name] for name in ("exact", "regex", "reference", "language", "criteria") if fields.get(name)
    }
    if fields.get("contains"):
        expected["contains"] = [*fields["contains"]]
    if fields.get("json_schema", "").strip():
        expected["json_schema"] = parse_json(fields["json_schema"], f"{where}, json_schema,")
    if fields.get("number", "").strip():
        try:
            expected["number"] = float(fields["number"])
        except ValueError as error:
            raise BadInput(f"{where}: “{fields['number']}” is no number.") from error
    messages = [message for message in fields["messages"] if message["role"] != "system" or message["content"].strip()]
    plain: dict[str, Any] = {"messages": messages, "expectations": expected, "tags": fields.get("tags") or []}
    return parse_item(plain | ({"id": fields["id"]} if fields.get("id") else {}), where, number)


def parse_json(text: str, where: str) -> Any:
    """A text's JSON. Raises BadInput, which begins with `where`."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise BadInput(f"{where} is nested too deep.") from error
    except ValueError as error:
        raise BadInput(f"{where} is no JSON: {error}.") from error


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
