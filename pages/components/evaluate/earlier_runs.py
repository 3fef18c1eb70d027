"""An evaluation against another one of the same prompt set: what changed over time."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import as_code, short
from phi3core.evaluation import results
from phi3core.evaluation.results import Evaluation, EvaluationRun
from phi3core.timestamps import from_ms

from .words import TITLES, sentence


def show(found: Evaluation) -> None:
    """Draw the box with the other evaluations of the set, and what changed against the one that is chosen."""
    with ui.show_errors():
        listed = reads.read("Reading the evaluations …", results.search_evaluations, ui.config(), max_age=5)
        same = [one for one in listed if _name(one) == _name(found.run) and one.run_id != found.run.run_id]
        if not same:
            return
        runs = {one.run_id: one for one in same}
        chosen = st.selectbox(
            "Compare with another evaluation of this set", list(runs), index=None, key="evaluate_other",
            format_func=lambda id: _label(runs[id]), placeholder="Choose one",
        )  # fmt: skip
        if chosen is None:
            return
        words = "Reading the answers …"
        other = reads.read(words, results.read_evaluation, ui.config(), chosen, max_age=60)
        for ref in found.run.refs:
            _compare(found, ref, other, ref if ref in other.run.refs else other.run.refs[0])


def _compare(found: Evaluation, ref: str, other: Evaluation, before: str) -> None:
    one, two = found.of(ref), other.of(before)
    st.markdown(f"**{short(ref)}** against **{short(before)}**, {ui.ago(from_ms(other.run.when))}")
    changed = {
        name: change for name, change in results.compare_answers(one, two).items() if change.better or change.worse
    }
    if not changed:
        st.caption("The same scores on every item that both have.")
    for name, change in changed.items():
        worse = ", ".join(as_code(item) for item in results.worse_items(one, two, name)[:12])
        st.markdown(f"- {TITLES[name]}: {sentence(change)}{f' Worse on {worse}.' if worse else ''}")


def _name(run: EvaluationRun) -> str:
    return run.prompt_set.partition("@")[0]


def _label(run: EvaluationRun) -> str:
    return f"{from_ms(run.when):%Y-%m-%d %H:%M} · {run.prompt_set} · {', '.join(run.refs)}"
