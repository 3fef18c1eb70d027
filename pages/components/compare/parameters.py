"""What all candidates are asked with, or each of them: system prompt, generation options, seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.components.chat.parameters import ALTERNATIVES, LARGEST_SEED, MAIN, MORE, Control
from pages.components.shared.escape import short
from phi3core.build.spec import MAX_TOKENS

_SAME, _OWN = "The same for all", "Each its own"
_WIDTH = 240  # pixels of a box, less where there is less room
_LONGEST = 200  # tokens of an answer, unless another number is chosen


@dataclass(frozen=True)
class Asking:
    """options: of each candidate, in their order. same: one seed for all of them."""

    system: str
    same: bool
    options: list[dict[str, Any]]


def show(refs: Sequence[str]) -> Asking:
    """Draw the controls, and return what they say."""
    with st.expander("Parameters", icon=":material/tune:"):
        system = st.text_area("System prompt", key="compare_system", placeholder="the model's own", height=80)
        mode = st.segmented_control(
            "Parameters and seed", [_SAME, _OWN], default=_SAME, required=True, key="compare_parameters"
        )
        same = mode == _SAME
        if same:
            with st.container(horizontal=True):
                options = [_controls("all", True)] * len(refs)
        else:
            options = []
            for at, (column, ref) in enumerate(zip(st.columns(max(len(refs), 1)), refs)):
                with column:
                    st.markdown(f"**{short(ref)}**")
                    options.append(_controls(str(at), False))
        told = st.toggle(
            "Token probabilities", True, key="compare_logprobs",
            help="They tell why two answers part. They cost a little speed.",
        )  # fmt: skip
    more = {"logprobs": True, "top_logprobs": ALTERNATIVES} if told else {}
    return Asking(system, same, [chosen | more for chosen in options])


def _controls(key: str, same: bool) -> dict[str, Any]:
    """The options that have a value. same: they start with values that are right for all, else with none."""
    values: dict[str, Any] = {control.name: _number(control, key, same) for control in MAIN}
    values["max_tokens"] = st.number_input(
        "Longest answer, in tokens", 1, MAX_TOKENS, _LONGEST, key=f"compare_max_tokens_{key}", width=_WIDTH
    )
    drawn = "one for all, drawn by lot" if same else "drawn by lot"
    values["seed"] = st.number_input(
        "Seed", 0, LARGEST_SEED, None, key=f"compare_seed_{key}", placeholder=drawn, width=_WIDTH
    )
    values |= {control.name: _number(control, key, False) for control in MORE}
    return {name: value for name, value in values.items() if value is not None}


def _number(control: Control, key: str, given: bool) -> float | None:
    kind = type(control.low)
    low, high, step, start = (kind(value) for value in (control.low, control.high, control.step, control.start))
    return st.number_input(
        control.label, low, high, start if given else None, step, key=f"compare_{control.name}_{key}",
        help=control.help or None, placeholder="its own", width=_WIDTH,
    )  # fmt: skip
