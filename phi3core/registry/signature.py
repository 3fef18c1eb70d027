"""A model's signature in words, and what a change of it does to the programs that call the model.

Works on the plain lists that MLflow writes into a model's MLmodel file. Knows nothing of versions or stores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from phi3core.text import join_words

_KINDS = {
    "string": "text",
    "long": "whole number",
    "integer": "whole number (32 bits)",
    "double": "number",
    "float": "number (32 bits)",
    "boolean": "yes or no",
    "binary": "bytes",
    "datetime": "date and time",
    "any": "anything",
}
# What MLflow converts by itself, because nothing is lost (mlflow.models.utils, _enforce_mlflow_datatype).
_WIDER = {("integer", "long"), ("integer", "double"), ("float", "double"), ("integer", "float")}

Column = dict[str, Any]
Signature = dict[str, list[Column]]


# What happens to programs that call the old model and are given the new one: of one thing, and of several.
_RULES = {
    "missing": (
        "{} must be sent, and programs don't send it yet: they are refused.",
        "{} must be sent, and programs don't send them yet: they are refused.",
    ),
    "needed": (
        "{} must be sent now; programs that leave it out are refused.",
        "{} must be sent now; programs that leave one out are refused.",
    ),
    "unknown": (
        "{} is no longer known; programs that send it are refused.",
        "{} are no longer known; programs that send one are refused.",
    ),
    "gone": (
        "{} is no longer in the answer; programs that read it find nothing.",
        "{} are no longer in the answer; programs that read them find nothing.",
    ),
    "ignored": (
        "{} is no longer taken: what programs send in it is ignored.",
        "{} are no longer taken: what programs send in them is ignored.",
    ),
    "dropped": (
        "The option {} is no longer known: MLflow drops it without a word.",
        "The options {} are no longer known: MLflow drops them without a word.",
    ),
}
_NAMED = 8  # names in one sentence


@dataclass(frozen=True)
class BreakingChange:
    """Something that a program will meet. rule: one of _RULES, or "" where sentence says it all."""

    rule: str
    name: str
    sentence: str = ""

    def __str__(self) -> str:
        return self.sentence or _RULES[self.rule][0].format(f"“{self.name}”")


@dataclass(frozen=True)
class SignatureChange:
    """An input, output or option in two signatures. was, now: in words, empty where there is none of that name."""

    name: str
    was: str
    now: str
    same: bool
    breaks: tuple[BreakingChange, ...]


def describe_type(column: Column) -> str:
    """What a column holds: ``text``, ``list of numbers``, ``record (role, content)``."""
    of = str(column.get("type", ""))
    if of == "array":
        return f"list of {describe_type(column.get('items') or {})}"
    if of == "object":
        properties: dict[str, Column] = column.get("properties") or {}
        named = [f"{name}{'' if _required(part) else '?'}" for name, part in sorted(properties.items(), key=_first)]
        return f"record ({', '.join(named)})"
    if of == "map":
        return f"table from text to {describe_type(column.get('values') or {})}"
    if of == "tensor":
        spec = column.get("tensor-spec") or {}
        shape = " × ".join("any" if size == -1 else str(size) for size in spec.get("shape") or [])
        return f"tensor of {spec.get('dtype', 'numbers')}{f', {shape}' if shape else ''}"
    return _KINDS.get(of, of or "anything")


def describe_column(column: Column) -> str:
    """A column in words: ``prompt: text``, ``stop: list of text, optional``."""
    words = describe_type(column) + ("" if _required(column) else ", optional")
    return f"{column['name']}: {words}" if column.get("name") else words


def describe_param(param: Column) -> str:
    """A parameter in words: ``temperature: number, else 0.2``."""
    of = _KINDS.get(str(param.get("type")), str(param.get("type")))
    if param.get("shape"):
        of = f"list of {of}"
    return f"{param.get('name')}: {of}, else {json.dumps(param.get('default'), ensure_ascii=False)}"


def describe_signature(signature: Signature) -> str:
    """What the model takes and gives, in one sentence."""
    inputs, outputs = signature.get("inputs") or [], signature.get("outputs") or []
    if not inputs and not outputs:
        return "It was logged without a signature: nothing says what it takes, and MLflow checks nothing."
    if is_chat(signature):
        taken, given = "messages of a conversation", "a chat completion, as OpenAI's protocol does"
        return f"It takes {taken} and answers with {given}."
    needed = [column for column in inputs if _required(column)]
    taken = _listed(needed) or "nothing that it must have"
    also = len(inputs) - len(needed)
    more = f" (and {also} more, optional)" if also else ""
    return f"It takes {taken}{more} and gives {_listed(outputs) or 'what it does not say'}."


def is_chat(signature: Signature) -> bool:
    """Whether it takes the messages of a conversation and gives the choices of a chat completion."""
    inputs = {column.get("name") for column in signature.get("inputs") or []}
    return "messages" in inputs and "choices" in {column.get("name") for column in signature.get("outputs") or []}


def compare_signatures(old: Signature, new: Signature) -> Iterator[SignatureChange]:
    """Every input, output and option of either, changed or not."""
    for part, title in (("inputs", "Input"), ("outputs", "Output"), ("params", "Option")):
        words = describe_param if part == "params" else describe_column
        before, after = _by_name(old.get(part)), _by_name(new.get(part))
        for name in sorted(before.keys() | after.keys(), key=lambda name: (name not in before, name)):
            was, now = before.get(name), after.get(name)
            breaks = tuple(_BROKEN[part](name, was, now))
            yield SignatureChange(
                f"{title} {name}", words(was) if was else "", words(now) if now else "", was == now, breaks
            )


def breaking_changes(old: Signature, new: Signature) -> list[str]:
    """What programs that call the old one meet when they are given the new one, worst first; empty if nothing."""
    if not old and not new:
        return []
    if not new:
        return ["It has no signature: what is sent to it is no longer checked."]
    if not old:
        return ["It has a signature, where nothing was checked before: what does not fit is refused now."]
    found = [each for change in compare_signatures(old, new) for each in change.breaks]
    sentences = [each.sentence for each in found if not each.rule]
    for rule in _RULES:
        if names := [each.name for each in found if each.rule == rule]:
            sentences.append(_RULES[rule][len(names) > 1].format(_named(names)))
    return sentences


def _named(names: list[str]) -> str:
    quoted = [f"“{name}”" for name in names[:_NAMED]]
    if len(names) > _NAMED:
        return f"{', '.join(quoted)} and {len(names) - _NAMED} more"
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


# ---------------------------------------------------------------- what breaks


def _input(name: str, was: Column | None, now: Column | None) -> Iterator[BreakingChange]:
    if now is None:
        yield BreakingChange("ignored", name)
    elif was is None:
        if _required(now):
            yield BreakingChange("missing", name)
    elif not _fits(was, now):
        yield BreakingChange(
            "", name, f"“{name}” must be {describe_type(now)}; programs send {describe_type(was)} and are refused."
        )
    else:
        if _required(now) and not _required(was):
            yield BreakingChange("needed", name)
        yield from _inside(name, was, now)


def _inside(name: str, was: Column, now: Column) -> Iterator[BreakingChange]:
    """What changed below a record or a list. MLflow refuses a record with a property that it does not know."""
    if was.get("type") == "array":
        yield from _inside(f"{name}[]", was.get("items") or {}, now.get("items") or {})
    before: dict[str, Column] = was.get("properties") or {}
    after: dict[str, Column] = now.get("properties") or {}
    for part in sorted(before.keys() | after.keys()):
        path = f"{name}.{part}"
        if part not in after:
            yield BreakingChange("unknown", path)
        else:
            yield from _input(path, before.get(part), after[part])


def _output(name: str, was: Column | None, now: Column | None) -> Iterator[BreakingChange]:
    if was is None:
        return
    if now is None:
        yield BreakingChange("gone", name)
    elif describe_type(was) != describe_type(now):
        yield BreakingChange(
            "",
            name,
            f"“{name}” of the answer becomes {describe_type(now)}; programs that read {describe_type(was)} stumble.",
        )


def _option(name: str, was: Column | None, now: Column | None) -> Iterator[BreakingChange]:
    if was is None:  # a new one has a default, always
        return
    if now is None:
        yield BreakingChange("dropped", name)
    elif bool(was.get("shape")) != bool(now.get("shape")) or not _fits(was, now):
        wanted, sent = (f"a list of {describe_type(c)}" if c.get("shape") else describe_type(c) for c in (now, was))
        yield BreakingChange("", name, f"The option “{name}” must be {wanted}; programs send {sent} and are refused.")


_BROKEN = {"inputs": _input, "outputs": _output, "params": _option}


def _fits(was: Column, now: Column) -> bool:
    """Whether MLflow takes the one where the other is wanted."""
    one, other = str(was.get("type", "")), str(now.get("type", ""))
    if other == "any" or (one, other) in _WIDER:
        return True
    if one != other:
        return False
    if one == "array":
        return _fits(was.get("items") or {}, now.get("items") or {})
    if one == "map":
        return _fits(was.get("values") or {}, now.get("values") or {})
    if one == "tensor":
        return _tensor_fits(was.get("tensor-spec") or {}, now.get("tensor-spec") or {})
    return True


def _tensor_fits(was: Column, now: Column) -> bool:
    before, after = was.get("shape") or [], now.get("shape") or []
    same = len(before) == len(after) and all(want in (-1, have) for have, want in zip(before, after))
    return was.get("dtype") == now.get("dtype") and same


def _required(column: Column) -> bool:
    return bool(column.get("required", True))


def _by_name(columns: list[Column] | None) -> dict[str, Column]:
    """By name, or by place where they have none; a single one without a name is “the value”."""
    found = columns or []
    return {str(c.get("name") or ("value" if len(found) == 1 else f"column {n}")): c for n, c in enumerate(found, 1)}


def _listed(columns: list[Column]) -> str:
    return join_words(f"“{c['name']}” ({describe_type(c)})" if c.get("name") else describe_type(c) for c in columns)


def _first(item: tuple[str, Column]) -> tuple[bool, str]:
    """What must be there comes first."""
    return not _required(item[1]), item[0]
