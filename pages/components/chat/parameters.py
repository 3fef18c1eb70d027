"""The sidebar of a conversation: the system prompt and the generation options that its model takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.components.shared import store_reads
from phi3core.build.spec import MAX_TOKENS
from phi3core.chat.conversation import Conversation
from phi3core.chat.supported_options import ENDPOINT_OPTIONS

from . import prompt_library
from .server_state import ServerState
from .target import Selection

_MOST_STOPS = 16
LARGEST_SEED = 2**53 - 1  # the largest whole number that a browser counts exactly
ALTERNATIVES = 5  # likeliest tokens shown beside each token, with their probabilities


@dataclass(frozen=True)
class Control:
    """An option under OpenAI's name. start: its value where the model has no default of its own."""

    name: str
    label: str
    low: float
    high: float
    step: float
    start: float
    help: str = ""


MAIN = (
    Control("temperature", "Temperature", 0.0, 2.0, 0.05, 0.2, "0 always takes the likeliest token."),
    Control("top_p", "Top p", 0.01, 1.0, 0.01, 0.9, "Only the likeliest tokens that together have this probability."),
)
MORE = (
    Control("top_k", "Top k", 1, 1000, 1, 50, "Only so many of the likeliest tokens."),
    Control("min_p", "Min p", 0.0, 1.0, 0.01, 0.0, "Only tokens at least so likely as this share of the likeliest's."),
    Control("repetition_penalty", "Repetition penalty", 0.1, 2.0, 0.05, 1.0, "Above 1: what was said is less likely."),
    Control("presence_penalty", "Presence penalty", -2.0, 2.0, 0.1, 0.0, "Against tokens that the answer has already."),
    Control("frequency_penalty", "Frequency penalty", -2.0, 2.0, 0.1, 0.0, "Likewise, growing with every time."),
)
_ALL = (*(c.name for c in (*MAIN, *MORE)), "max_tokens", "seed", "stop", "logprobs")


def show(chosen: Selection, conversation: Conversation, state: ServerState) -> tuple[str, dict[str, Any]]:
    """Draw the controls and return the system prompt and the options.

    They start as the conversation had them last, else at the model's own defaults.
    """
    supported, own = _known(chosen, state)
    _seed_state(chosen.ref, conversation, own, supported)
    with st.sidebar:
        system = st.text_area(
            "System prompt", key="chat_system", placeholder="the model's own", height=100,
            disabled=state.chat in ("prompt", "none"),
        )  # fmt: skip
        prompt_library.insert("chat_system", "Saved system prompts")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Generation**", width="content")
            st.space("stretch")
            st.button(
                "Reset", icon=":material/restart_alt:", type="tertiary", key="chat_reset", on_click=_reset,
                args=(chosen.ref,), help="Back to the model's own defaults",
            )  # fmt: skip
        values = _draw(chosen, supported)
    st.session_state["chat_kept"][chosen.ref] = values
    return system, _asked(chosen, values, own)


def _known(chosen: Selection, state: ServerState) -> tuple[set[str], dict[str, Any]]:
    """The options that the model takes, and its defaults."""
    if chosen.endpoint is not None:
        return set(
            ENDPOINT_OPTIONS[chosen.endpoint.kind]
        ), {}  # its own defaults are its secret, so that all starts empty
    assert chosen.version is not None
    if state.props:
        return set(state.props.get("supports") or ()), dict(state.props.get("default_generation_settings") or {})
    detail = store_reads.detail(chosen.version)
    if chosen.version.wrapper:
        return set(_ALL), detail.options
    params = {param["name"]: param.get("default") for param in detail.signature.get("params") or []}
    return set(params) & set(_ALL), params


def _seed_state(ref: str, conversation: Conversation, own: dict[str, Any], supported: set[str]) -> None:
    kept = st.session_state.setdefault("chat_kept", {})
    new = st.session_state.get("chat_seeded") != conversation.id
    if new or "chat_system" not in st.session_state:
        if conversation.path and (new or "chat_system_kept" not in st.session_state):
            last = conversation.path[-1]
            st.session_state["chat_system"] = last.system
            if new:
                kept[ref] = dict(last.options)
                _drop(ref)
        else:
            st.session_state.setdefault("chat_system", st.session_state.get("chat_system_kept", ""))
    st.session_state["chat_seeded"] = conversation.id
    st.session_state["chat_system_kept"] = st.session_state["chat_system"]
    values = {**own, **kept.get(ref, {})}
    for name in supported.intersection(_ALL):
        st.session_state.setdefault(_key(name, ref), _start(name, values.get(name)))


def _start(name: str, value: Any) -> Any:
    """A value as its control takes it, moved into its range; None where it is unknown, or none that it could take.

    A model's default is whatever its author wrote.
    """
    try:
        return _in_range(name, value)
    except (TypeError, ValueError, OverflowError):
        return None


def _in_range(name: str, value: Any) -> Any:
    if name == "stop":
        listed = [value] if isinstance(value, str) else value or ()
        return [str(part).replace("\n", "\\n") for part in listed][:_MOST_STOPS]
    if name == "logprobs":
        return bool(value)
    if value is None:
        return None
    if name == "seed":  # -1 is how a logged version says that there is none
        return int(value) if 0 <= int(value) <= LARGEST_SEED else None
    if name == "max_tokens":
        return min(max(int(value), 1), MAX_TOKENS)
    control = next(c for c in (*MAIN, *MORE) if c.name == name)
    return min(max(type(control.low)(value), control.low), control.high)


def _draw(chosen: Selection, supported: set[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for control in _these(MAIN, supported):
        values[control.name] = _number(control, chosen)
    if "max_tokens" in supported:
        key = _key("max_tokens", chosen.ref)
        if chosen.endpoint is None and st.session_state[key] is None:
            st.session_state[key] = 300
        values["max_tokens"] = st.number_input(
            "Longest answer, in tokens", 1, MAX_TOKENS, None, key=key, placeholder="its own"
        )
    more = _these(MORE, supported)
    if more or supported & {"seed", "stop", "logprobs"}:
        with st.expander("Advanced", icon=":material/tune:"):
            for control in more:
                values[control.name] = _number(control, chosen)
            values |= _special(chosen, supported)
    if not values:
        st.caption("Nobody knows yet which options this model takes: open it to see.")
    return values


def _these(controls: Iterable[Control], supported: set[str]) -> list[Control]:
    return [control for control in controls if control.name in supported]


def _number(control: Control, chosen: Selection) -> float | None:
    key = _key(control.name, chosen.ref)
    if chosen.endpoint is not None:  # its own default has no place on a slider
        low, high, step = float(control.low), float(control.high), float(control.step)
        return st.number_input(control.label, low, high, None, step, key=key, help=control.help, placeholder="its own")
    if st.session_state[key] is None:
        st.session_state[key] = control.start
    if control.name == "top_k":
        return st.number_input(control.label, int(control.low), int(control.high), step=1, key=key, help=control.help)
    return st.slider(control.label, control.low, control.high, step=control.step, key=key, help=control.help)


def _special(chosen: Selection, supported: set[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "seed" in supported:
        key = _key("seed", chosen.ref)
        values["seed"] = st.number_input("Seed", 0, LARGEST_SEED, None, key=key, placeholder="random")
    if "stop" in supported:
        key = _key("stop", chosen.ref)
        values["stop"] = st.multiselect(
            "Stop sequences", st.session_state[key], key=key, accept_new_options=True, max_selections=_MOST_STOPS,
            placeholder="Type one, press Enter", help="The answer ends before any of these. \\n is a line break.",
        )  # fmt: skip
    if "logprobs" in supported:
        key = _key("logprobs", chosen.ref)
        hint = "Each with its likeliest alternatives."
        values["logprobs"] = st.toggle("Show token probabilities", key=key, help=hint)
    return values


def _asked(chosen: Selection, values: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The options to ask with. A model that we did not build is sent only what differs from its own defaults."""
    ours = chosen.version is not None and bool(chosen.version.wrapper)
    options = {n: v for n, v in values.items() if v is not None and (ours or v != _start(n, own.get(n)))}
    stop = [part.replace("\\n", "\n") for part in options.pop("stop", ())]
    probabilities = {"logprobs": True, "top_logprobs": ALTERNATIVES} if options.pop("logprobs", False) else {}
    return options | ({"stop": stop} if stop else {}) | probabilities


def _reset(ref: str) -> None:
    st.session_state["chat_kept"].pop(ref, None)
    _drop(ref)


def _drop(ref: str) -> None:
    for name in _ALL:
        st.session_state.pop(_key(name, ref), None)


def _key(name: str, ref: str) -> str:
    return f"chat_{name}_{ref}"
