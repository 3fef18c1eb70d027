"""What a file of conversations may hold: so much, nested so deep, and in each field of a turn what belongs there.

A small file can ask for much: brackets that become lists, turns that are each kept with all that was said before them.
Each is counted before it is made.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, get_args

from phi3core.clean_text import clean, without_control
from phi3core.errors import BadInput
from phi3core.registry.reference import parse_reference
from phi3core.traces.turn import State, Turn

IMPORTED = "imported"
"""The `ref` of a turn from a file of messages, which does not name the version that answered."""
MOST_CONVERSATIONS, MOST_TURNS = 1_000, 10_000  # of one file
MOST_KEPT = 200_000_000  # characters that its turns take, each with what was said before it
_MOST_VALUES = 1_000_000  # of one JSON text
_DEEPEST = 100  # lists and objects in one another
_LONGEST_REF = 300

_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
_WORDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def read_json(text: str) -> Any:
    """What a JSON text says. Raises ValueError, as json.loads does, also for what is too much or too deep."""
    if text.count(",") + text.count("[") + text.count("{") > _MOST_VALUES:
        raise ValueError(f"it holds more than {_MOST_VALUES:,} values")
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _check_values(found)
    return clean(found)


def _check_values(value: Any) -> None:
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"it holds {one}")
        if isinstance(one, dict | list):
            if depth == _DEEPEST:
                raise ValueError("it is nested too deeply")
            waiting += [(part, depth + 1) for part in (one.values() if isinstance(one, dict) else one)]


def check_amount(name: str, conversations: Sequence[Sequence[Turn]]) -> None:
    """Raise BadInput where the conversations of a file are too many, or would take too much to keep.

    name: the file's.
    """
    turns = sum(map(len, conversations))
    if len(conversations) > MOST_CONVERSATIONS or turns > MOST_TURNS:
        raise BadInput(
            f"{name} holds {len(conversations):,} conversations with {turns:,} turns: split it, "
            f"{MOST_CONVERSATIONS:,} and {MOST_TURNS:,} are the most."
        )
    if (kept := sum(map(_kept, conversations))) > MOST_KEPT:
        raise BadInput(
            f"{name} would take {kept / 1e6:,.0f} MB, because each turn is kept with what was said before it: "
            "split its longest conversations."
        )


def _kept(turns: Sequence[Turn]) -> int:
    """Characters of all turns, each with those that it follows."""
    sizes: dict[str, int] = {}
    for turn in turns:
        sizes[turn.id] = sizes.get(turn.parent, 0) + len(turn.question) + len(turn.answer)
    return sum(sizes.values())


def check_turn(where: str, data: Any) -> Turn:
    """The turn that plain data says. Raises BadInput naming the field for what is none. where: for the message."""
    if not isinstance(data, dict) or not isinstance(data.get("question"), str) or not isinstance(data.get("ref"), str):
        raise BadInput(f"{where}: this is no turn with a question and a ref.")
    for name, value in data.items():
        if (field := Turn.__dataclass_fields__.get(name)) is not None:
            _check_field(f"{where}: “{name}”", str(field.type), value)
    if not 0 <= data.get("when", 0) < 10**13 or not 0 <= data.get("took_ms", 0) < 10**10:
        raise BadInput(f"{where}: its time is out of range.")
    if data.get("state", "done") not in get_args(State) or data.get("state") == "running":
        raise BadInput(f"{where}: the state must be done, stopped or failed.")
    if not all(_is_message(message) for message in data.get("sent") or []):
        raise BadInput(f"{where}: “sent” must be a list of messages.")
    try:
        return Turn.from_plain(data)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{where}: its tokens are damaged.") from error


def check_origin(where: str, turn: Turn) -> None:
    """Raise BadInput where what a turn says of the model that answered it is no name of one. where: for the message."""
    _check_reference(where, turn.ref, concrete=True)
    if turn.asked_ref:
        _check_reference(where, turn.asked_ref, concrete=False)
    if not re.fullmatch(r"(m-[0-9a-f]{1,64})?", turn.model_id):
        raise BadInput(f"{where}: “model_id” is no id of a logged model.")


def _check_reference(where: str, ref: str, concrete: bool) -> None:
    told = BadInput(f"{where}: “{ref[:60]}” names no version that could have answered, such as phi3/3.")
    if len(ref) > _LONGEST_REF or "\n" in ref or without_control(ref) != ref:
        raise told
    if ref == IMPORTED or ref.removeprefix("endpoint:").strip() not in ("", ref):
        return
    try:
        found = parse_reference(ref)
    except BadInput as error:
        raise told from error
    if concrete and found.number is None:
        raise told


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict) and {*value} == {"role", "content"} and all(isinstance(v, str) for v in value.values())
    )


def _check_field(where: str, kind: str, value: Any) -> None:
    """Raise BadInput unless a value fits a field's type."""
    if kind.endswith(" | None"):
        if value is None:
            return
        kind = kind.removesuffix(" | None")
    if kind in _TYPES:
        wrong = not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool")
        if wrong or (kind in ("int", "float") and not -(2**53) <= value <= 2**53):
            raise BadInput(f"{where} must be {_WORDS[kind]}.")
    elif kind.startswith("dict") and not isinstance(value, dict):
        raise BadInput(f"{where} must be an object.")
    elif kind.startswith("list") and not isinstance(value, list):
        raise BadInput(f"{where} must be a list.")
