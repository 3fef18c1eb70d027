"""How the answers of each version spread: their length, how long they took, their speed."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.components.shared.escape import in_chart
from phi3core.evaluation.results import Evaluation

from .words import COLORS

_SHOWN = {"length": "Words", "seconds": "Seconds an answer", "tokens_per_second": "Tokens/s"}


def show(found: Evaluation) -> None:
    """Draw a box for each version: median, quartiles, and the values between which nine in ten lie."""
    there = [name for name in _SHOWN if any(name in answer.scores for answer in found.answers)]
    if not there:
        return
    chosen = st.segmented_control(
        "How the answers spread", there, default=there[0], format_func=_SHOWN.__getitem__, required=True,
        key="evaluate_spread",
    )  # fmt: skip
    chart = go.Figure()
    for at, ref in enumerate(found.run.refs):
        values = [float(answer.scores[chosen]) for answer in found.of(ref).values() if chosen in answer.scores]
        if not values:
            continue
        low, first, middle, third, high = np.percentile(values, [5, 25, 50, 75, 95])
        name = in_chart(ref)
        chart.add_box(
            y=[name], orientation="h", name=name, lowerfence=[low], q1=[first], median=[middle], q3=[third],
            upperfence=[high], marker={"color": COLORS[at % len(COLORS)]}, line={"width": 1.5},
        )  # fmt: skip
    chart.update_layout(
        height=50 + 44 * len(found.run.refs), margin={"l": 0, "r": 24, "t": 8, "b": 0}, showlegend=False, dragmode=False
    )
    chart.update_xaxes(rangemode="tozero", fixedrange=True, zeroline=False)
    chart.update_yaxes(autorange="reversed", fixedrange=True, automargin=True)
    st.plotly_chart(chart, key="evaluate_spread_chart", config={"displayModeBar": False}, alt=_SHOWN[chosen])
    st.caption(
        "The box holds the middle half of the answers, its line is the median; nine in ten lie within all of it."
    )
