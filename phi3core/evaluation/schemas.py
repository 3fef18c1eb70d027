"""JSON schemas that people write, as an expectation: checked when they are read, and bounded when they are applied.

A schema refers to nothing outside of itself, and its patterns are searched for one second at most.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import regex

PATTERN_SECONDS = 1.0


def why_refused(schema: dict[str, Any]) -> str:
    """Why a schema is not taken, a sentence; empty where it is."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"The schema is none: {error.message[:200]}."
    except RecursionError:
        return "The schema is nested too deep."
    for name, value in _entries(schema):
        if name in ("$ref", "$dynamicRef") and not str(value).startswith("#"):
            return f"The schema refers to “{str(value)[:80]}”: it can refer to its own parts only (#/$defs/…)."
        if name == "patternProperties":
            return "The schema has patternProperties, which are not taken: name the properties."
    return ""


def follows(text: str, schema: dict[str, Any]) -> bool:
    """Whether a text is JSON that follows a schema."""
    try:
        return bool(_validator()(schema, registry=_no_registry()).is_valid(json.loads(text)))
    except Exception:  # no JSON; a schema from elsewhere that refers to nothing, or is none
        return False


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator, validators

    return validators.extend(Draft202012Validator, {"pattern": _pattern})


@cache
def _no_registry() -> Any:
    """References lead nowhere: by default they are fetched, from the internet and from files."""
    from referencing import Registry

    return Registry()


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and not regex.search(pattern, instance, timeout=PATTERN_SECONDS):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)
