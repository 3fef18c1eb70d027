"""What of a recorded turn's options another model takes: the rest is left out, and the turn says so."""

from __future__ import annotations

from collections.abc import Collection

from phi3core.engine.interface import ALL_OPTIONS, WITHOUT_EFFECT
from phi3core.traces.turn import Turn

# What an endpoint of either kind takes as a rule; none tells.
ENDPOINT_OPTIONS = {
    "openai": ALL_OPTIONS - {"top_k", "repetition_penalty"},
    "mlflow": frozenset({"temperature", "top_p", "max_tokens", "stop"}),
}
_WITH = {"top_logprobs": "logprobs"}  # what goes with another option


def fit_options(turn: Turn, supported: Collection[str]) -> None:
    """Take from a turn what would be refused, and note it, unless it changes nothing."""
    lost = [name for name in turn.options if _WITH.get(name, name) not in supported]
    named = [name for name in lost if name not in _WITH and _says(name, turn.options[name])]
    options = {name: value for name, value in turn.options.items() if name not in lost}
    seed = turn.seed if "seed" in supported else None
    schema = turn.schema
    if schema is not None and "json_schema" not in supported:
        schema, named = None, [*named, "the JSON schema" if turn.schema else "the JSON mode"]
    note = f"Asked without {_listed(named)}, which this model does not take." if named else ""
    turn.update(options=options, seed=seed, schema=schema, note=f"{turn.note} {note}".strip())


def _says(name: str, value: object) -> bool:
    neutral = WITHOUT_EFFECT.get(name)
    return value is not False and value != (list(neutral) if isinstance(neutral, tuple) else neutral)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
