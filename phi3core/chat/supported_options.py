"""The options that a turn is asked with: checked, and without those that its model does not take, which it says."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from phi3core.clean_text import clean
from phi3core.engine.interface import ALL_OPTIONS, has_effect
from phi3core.errors import BadInput
from phi3core.text import join_words

from .live_turn import LiveTurn

# What an endpoint of either kind usually takes: none says what it supports.
ENDPOINT_OPTIONS = {
    "openai": ALL_OPTIONS - {"top_k", "min_p", "repetition_penalty"},
    "mlflow": frozenset({"temperature", "top_p", "max_tokens", "stop"}),
}
_BELONGS_TO = {"top_logprobs": "logprobs"}  # has no meaning without the other option


def drop_unsupported_options(live: LiveTurn, supported: Collection[str]) -> None:
    """Take from a turn the options, seed and schema that the model would refuse.

    What had an effect is named in the turn's note.

    Args:
        supported: names of the options that the model takes.
    """
    turn = live.turn
    lost = [name for name in turn.options if _BELONGS_TO.get(name, name) not in supported]
    named = [name for name in lost if name not in _BELONGS_TO and _asks(name, turn.options[name])]
    options = {name: value for name, value in turn.options.items() if name not in lost}
    seed = turn.seed if "seed" in supported else None
    schema = turn.schema
    if schema is not None and "json_schema" not in supported:
        named.append("the JSON schema" if schema else "the JSON mode")
        schema = None
    live.set_request(options, seed, schema)
    if named:
        live.add_note(f"Asked without {join_words(named)}, which this model does not take.")


def _asks(name: str, value: object) -> bool:
    return value is not False and has_effect(name, value)


def check_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """The options that have a value. Raises BadInput for several answers at once."""
    given = {name: value for name, value in (options or {}).items() if value is not None}
    if given.pop("n", 1) != 1:
        raise BadInput("A conversation takes one answer at a time: leave n out, or ask again for another.")
    if given.get("seed") == -1:  # none: one is drawn, and kept, so that the answer can be had again
        del given["seed"]
    return dict(clean(given))
