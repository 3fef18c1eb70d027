"""Why two answers are different: where they part, and what each model thought of the two ways to go on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages.components.shared.escape import as_code, short
from phi3core.evaluation.hiding import ShownAnswer
from phi3core.evaluation.parting import Likelihood, Parting, find_parting
from phi3core.traces.turn import Turn

_BEFORE = 120  # letters of what both have said


def show(answers: Sequence[ShownAnswer], key: str) -> None:
    """Draw it for two of the answers; of more than two, for those that are chosen."""
    said = {shown.name: shown.turn for shown in answers if shown.turn is not None and shown.text}
    if len(said) < 2 or len({turn.answer for turn in said.values()}) < 2:
        return
    with st.expander("Why are they different?", icon=":material/alt_route:"):
        names = list(said)[:2]
        if len(said) > 2:
            names = st.multiselect("Which two", list(said), names, max_selections=2, key=f"compare_why_{key}")
        if len(names) < 2:
            st.caption("Choose two of the answers.")
            return
        one, other = said[names[0]], said[names[1]]
        parting = find_parting(one, other)
        if parting is None:
            st.caption("These two are the same, to the letter.")
        else:
            _show(parting, one, other)


def _show(parting: Parting, one: Turn, other: Turn) -> None:
    if parting.before:
        st.markdown(f"Both say {as_code('…' + parting.before[-_BEFORE:])}, and then they part.")
    else:
        st.markdown("They part at the first token.")
    ways = [f"{short(turn.ref)} goes on with {_token(text)}" for turn, text in zip((one, other), parting.tokens)]
    rows = {way: [_share(known[at]) for known in parting.likelihoods] for at, way in enumerate(ways)}
    columns = [f"Likely for {short(turn.ref)}" for turn in (one, other)]
    if columns[0] == columns[1]:  # of a replay with one version: a column's name may not come twice
        columns = [f"{columns[0]} (1)", f"{columns[1]} (2)"]
    st.table(pd.DataFrame.from_dict(rows, orient="index", columns=columns))
    for turn in (one, other):
        if not turn.tokens:
            st.caption(
                f"{short(turn.ref)} tells no probabilities of its tokens: it has none, or was not asked for them."
            )
    drawn = (
        ""
        if one.options.get("temperature") == 0 == other.options.get("temperature")
        else ("Tokens are drawn by lot: a likely one need not come. ")
    )
    st.caption(f"{drawn}From there on each reads another text, and what follows differs by that too.")


def _token(text: str) -> str:
    return as_code(text.replace("\n", "⏎").replace(" ", "·")) if text else "its end"


def _share(likelihood: Likelihood | None) -> str:
    if likelihood is None:
        return "not told"
    share = likelihood.probability * 100
    return f"{share:.1f} %" if likelihood.exact else f"below {max(share, 0.1):.1f} %"
