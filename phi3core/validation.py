"""Configuration that people write, checked by pydantic; its errors become our sentences.

A table of a TOML file, or an object of JSON, is a subclass of `Table`; `validate` makes one of plain data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import BadInput

_EXPECTED = {
    "string_type": "text in quotes",
    "literal_error": "text in quotes",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}
"""By pydantic's type of error: what must be written instead. In braces, what the error's context knows."""


class Table(BaseModel):
    """The base of configuration as it is written: no value is converted, no key is ignored.

    A field's description says what it must be (“a list of e-mails”), where the type alone does not say it. A validator
    raises ValueError with a whole sentence.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    missing: ClassVar[str] = "is missing."
    """What is said of a key that must be there."""

    unknown: ClassVar[str] = ""
    """What is said of a key that is no field; by default, that it means nothing, and which do."""


Checked = TypeVar("Checked", bound=Table)


def validate(table: type[Checked], data: Any, where: str = "") -> Checked:
    """The data as a table. Raises BadInput as `explain` says it.

    Args:
        where: what the sentence begins with: the file and the table's name.
    """
    try:
        return table.model_validate(data)
    except ValidationError as error:
        raise BadInput(explain(error, table, where)) from error


def explain(error: ValidationError, table: type[Table], where: str = "") -> str:
    """The first thing that is wrong, as a sentence that names the key and what to write.

    Args:
        table: what was validated. Its `missing` and `unknown`, and its fields' descriptions, speak of its own keys.
        where: what the sentence begins with: the file and the table's name.
    """
    first = error.errors(include_url=False)[0]
    return f"{where}: {_sentence(first, table)}" if where else _sentence(first, table)


def _sentence(error: Any, table: type[Table]) -> str:
    kind, place, context = error["type"], error["loc"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    own = table.model_fields.get(str(place[0])) if place else None
    name = f"“{_path(place if own is None or own.description is None else place[:1])}”" if place else "it"
    missing = f"{name} {table.missing if len(place) == 1 else Table.missing}"
    if kind == "missing":
        return missing
    if kind == "extra_forbidden":
        return f"{name} {(len(place) == 1 and table.unknown) or _unknown(table, place)}"
    if own is not None and own.description:
        return f"{name} must be {own.description}."
    if kind == "string_too_short" and not error["input"]:
        return missing
    if kind == "literal_error" and isinstance(error["input"], str):
        return f"{name} is “{error['input']}”; it must be {_choices(context['expected'])}."
    expected = _EXPECTED.get(kind)
    return f"{name} must be {expected.format(**context)}." if expected else f"{name}: {error['msg']}."


def _unknown(table: type[Table], place: Sequence[str | int]) -> str:
    if len(place) > 1:
        return "means nothing here."
    return f"means nothing here. Known are {', '.join(sorted(table.model_fields))}."


def _choices(expected: str) -> str:
    """Pydantic's list of a Literal's values, ``'a', 'b' or 'c'``, in our words."""
    values = expected.replace("' or '", "', '").strip("'").split("', '")
    return " or ".join(values) if len(values) < 4 else f"one of {', '.join(values)}"


def _path(place: Sequence[str | int]) -> str:
    """``metrics[0].metric``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")
