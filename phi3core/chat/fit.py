"""What of a recorded turn's options another model takes: the rest is left out, and the turn says so."""

from __future__ import annotations

from collections.abc import Collection

from phi3core.engine.interface import ALL_OPTIONS, WITHOUT_EFFECT
from phi3core.text import join_words

from .live_turn import LiveTurn

# What an endpoint of either kind takes as a rule; none tells.
ENDPOINT_OPTIONS = {
    "openai": ALL_OPTIONS - {"top_k", "repetition_penalty"},
    "mlflow": frozenset({"temperature", "top_p", "max_tokens", "stop"}),
}
_WITH = {"top_logprobs": "logprobs"}  # what goes with another option


def fit_options(live: LiveTurn, supported: Collection[str]) -> None:
    """Take from a turn what the model would refuse, and note it, unless it changes nothing."""
    turn = live.turn
    lost = [name for name in turn.options if _WITH.get(name, name) not in supported]
    named = [name for name in lost if name not in _WITH and _has_effect(name, turn.options[name])]
    options = {name: value for name, value in turn.options.items() if name not in lost}
    seed = turn.seed if "seed" in supported else None
    schema = turn.schema
    if schema is not None and "json_schema" not in supported:
        named.append("the JSON schema" if schema else "the JSON mode")
        schema = None
    live.set_request(options, seed, schema)
    if named:
        live.add_note(f"Asked without {join_words(named)}, which this model does not take.")


def _has_effect(name: str, value: object) -> bool:
    neutral = WITHOUT_EFFECT.get(name)
    return value is not False and value != (list(neutral) if isinstance(neutral, tuple) else neutral)
