"""What came of an evaluation: means with their intervals, differences, and the answers side by side."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from pages.components.shared import ui
from pages.components.shared.escape import as_code, in_chart, short
from phi3core.evaluation.results import Evaluation
from phi3core.timestamps import from_ms

from . import answer_grid, distributions, earlier_runs
from .words import COLORS, TITLES, duration, sentence

_SHARES = tuple(TITLES)  # means between 0 and 1, which are drawn as a share


def show(found: Evaluation) -> None:
    """Draw it."""
    run = found.run
    with st.container(horizontal=True):
        if st.button("All evaluations", icon=":material/arrow_back:", type="tertiary", key="evaluate_back"):
            st.query_params.clear()
            st.rerun()
        if st.button("Report to print", icon=":material/print:", type="tertiary", key="evaluate_report"):
            st.query_params["report"] = "1"
            st.rerun()
    head(found)
    if not found.answers:
        return
    distributions.show(found)
    for other in run.refs[1:]:
        differences(found, run.refs[0], other)
    earlier_runs.show(found)
    answer_grid.show(found)


def head(found: Evaluation) -> None:
    """Draw what was evaluated, and the versions' means and costs."""
    run = found.run
    state = "" if run.complete else " · :orange-badge[incomplete: start it again, and it goes on]"
    if run.judge:
        st.caption(f":material/gavel: Judged by {short(run.judge)}: an opinion, and no measurement.")
    st.markdown(
        f"**{short(run.prompt_set)}** · {ui.counted(run.items, 'item')} · {short(run.by)} · "
        f"{ui.ago(from_ms(run.when))}{state}"
    )
    if not found.answers:
        st.info("Nothing was answered yet.", icon=":material/hourglass_empty:")
        return
    _means(found)


def _means(found: Evaluation) -> None:
    means = {ref: found.means(ref) for ref in found.run.refs}
    named = [name for name in _SHARES if any(name in own for own in means.values())]
    chart = go.Figure()
    for at, (ref, own) in enumerate(means.items()):
        shown = [own[name] for name in named if name in own]
        chart.add_bar(
            y=[TITLES[name] for name in named if name in own],
            x=[mean.value for mean in shown],
            orientation="h",
            name=in_chart(ref),
            marker={"color": COLORS[at % len(COLORS)]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [mean.high - mean.value for mean in shown],
                "arrayminus": [mean.value - mean.low for mean in shown],
                "thickness": 1.2,
                "color": "#8A97A6",
            },
            customdata=[[f"{mean.low:.0%} to {mean.high:.0%}", mean.count] for mean in shown],
            hovertemplate="%{y}: %{x:.0%} (%{customdata[0]}) of %{customdata[1]} items<extra></extra>",
        )
    chart.update_layout(
        height=60 + 34 * len(named) * max(1, len(means)) // 2 + 40,
        margin={"l": 0, "r": 24, "t": 8, "b": 0},  # room for “100%”
        dragmode=False,
        legend={"orientation": "h", "y": -0.15},
        showlegend=True,
    )
    chart.update_xaxes(range=[0, 1], tickformat=".0%", fixedrange=True, zeroline=False)
    chart.update_yaxes(autorange="reversed", fixedrange=True, automargin=True)
    st.plotly_chart(chart, key="evaluate_means", config={"displayModeBar": False}, alt="Means by scorer and version")
    st.caption("Shares of items, each with the interval that holds in 95 of 100 samples of prompts like these.")
    for ref, own in means.items():
        told = [
            f"{own[name].value:,.{digits}f} {unit}"
            for name, unit, digits in (
                ("length", "words", 0), ("seconds", "s an answer", 1), ("tokens_per_second", "tokens/s", 0),
            )
            if name in own
        ]  # fmt: skip
        failed = sum(answer.failed for answer in found.of(ref).values())
        seconds, tokens = found.cost(ref)
        told += [f"in all {ui.counted(tokens, 'token')} and {duration(seconds)} of answering"]
        told += [f":red[{ui.counted(failed, 'answer')} failed]"] if failed else []
        st.caption(f"{short(ref)}: {' · '.join(told)}")


def differences(found: Evaluation, first: str, other: str, buttons: bool = True) -> None:
    """Draw how a version is better and worse than the first. buttons: with those that show the answers."""
    changed = {name: one for name, one in found.compare(other, first).items() if one.better or one.worse}
    st.markdown(f"**{short(other)}** against **{short(first)}**")
    if not changed:
        st.caption("The same scores on every item.")
    for name, one in changed.items():
        worse = ", ".join(as_code(item) for item in found.worse(other, first, name)[:12])
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            where = f" Worse on {worse}." if worse else ""
            st.markdown(f"{TITLES[name]}: {sentence(one)}{where}", width="content")
            for word, count in (("worse", one.worse), ("better", one.better)):
                if count and buttons:
                    st.button(
                        f"Show the {count}", key=f"evaluate_show_{word}_{name}_{other}", type="tertiary",
                        icon=f":material/trending_{'down' if word == 'worse' else 'up'}:",
                        help=f"The answers on which it is {word}", on_click=answer_grid.choose,
                        args=(answer_grid.label(other, word, name),),
                    )  # fmt: skip
