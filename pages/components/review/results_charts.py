"""The charts of a review's result: the ranking, rates between versions, agreement over time, and the side's part."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from pages.components.shared.escape import in_chart
from phi3core.evaluation.analysis import agreement
from phi3core.evaluation.analysis.ranking import Rank
from phi3core.evaluation.analysis.report import Report
from phi3core.evaluation.statistics import Mean
from phi3core.timestamps import from_ms

_COLOR, _GRAY = "#2F86CF", "#8A97A6"  # on a light and on a dark ground
_ROW = 38  # pixels


def ranking(ranks: Sequence[Rank]) -> None:
    """Each version's chance to be preferred, the best at the top."""
    chart = go.Figure()
    _intervals(chart, [one.ref for one in ranks], [one.chance for one in ranks])
    chart.update_traces(marker={"symbol": [_SYMBOLS[one.bound] for one in ranks], "size": 11})
    chart.add_vline(0.5, line={"color": _GRAY, "width": 1, "dash": "dot"})
    chart.update_xaxes(range=[-0.02, 1.02], tickformat=".0%")
    _draw(chart, 70 + _ROW * len(ranks), "review_ranking", "Chance to be preferred, by version")
    st.caption(
        "How likely each is preferred over one of the others (Bradley and Terry), with what holds in 95 of 100 samples "
        "of prompts like these. An arrow: no bound on that side."
    )


_SYMBOLS = {"": "circle", "above": "triangle-right", "below": "triangle-left"}


def rates(told: Report) -> None:
    """The share of votes that the version of a row won against that of a column, with its interval."""
    refs = [one.ref for one in told.ranking]
    cells = [[told.rates.get((row, column)) for column in refs] for row in refs]
    words = [[f"{rate.value:.0%}<br>{rate.low:.0%}–{rate.high:.0%}" if rate else "" for rate in row] for row in cells]
    names = [in_chart(ref, 40) for ref in refs]
    chart = go.Figure(
        go.Heatmap(
            x=names, y=names, z=[[rate.value if rate else None for rate in row] for row in cells],
            text=words, texttemplate="%{text}", textfont={"color": "#111111", "size": 12},
            zmin=0, zmax=1, showscale=False, xgap=2, ygap=2,
            colorscale=[[0, "#F0A08C"], [0.5, "#E6E6E6"], [1, "#8FC7F0"]],
            hovertemplate="%{y} against %{x}: %{text}<extra></extra>",
        )
    )  # fmt: skip
    chart.update_yaxes(autorange="reversed")
    chart.update_xaxes(side="top")
    _draw(chart, 60 + 52 * len(refs), "review_rates", "Share of votes won, row against column")
    st.caption("The share of the votes that the row won against the column; a tie is half a vote for either.")


def means(told: Report) -> None:
    """The mean of each version by criterion: from 1 to 5, or the share that passed."""
    share = all(mean.value <= 1 for mean in told.means.values())
    names = [f"{criterion}: {ref}" if criterion else ref for ref, criterion in told.means]
    chart = go.Figure()
    _intervals(chart, names, list(told.means.values()), ".0%" if share else ".2f")
    chart.update_xaxes(range=[-0.02, 1.02] if share else [0.9, 5.1], tickformat=".0%" if share else "")
    _draw(chart, 70 + _ROW * len(names), "review_means", "Means by version")
    st.caption("The share that passed" if share else "Mean rating, 1 to 5", help="With its 95 % interval over items.")


def agreement_over_time(points: Sequence[tuple[int, float]]) -> None:
    """Krippendorff's alpha of the votes so far, by when they were cast."""
    chart = go.Figure()
    chart.add_scatter(
        x=[from_ms(at) for at, _ in points], y=[value for _, value in points], mode="lines+markers",
        line={"color": _COLOR, "width": 1.5}, hovertemplate="%{x|%Y-%m-%d %H:%M}: %{y:.2f}<extra></extra>",
    )  # fmt: skip
    for limit in (agreement.TENTATIVE, agreement.RELIABLE):
        chart.add_hline(limit, line={"color": _GRAY, "width": 1, "dash": "dot"})
    chart.update_yaxes(range=[min(-0.05, *(value for _, value in points)) - 0.05, 1.05], nticks=5)
    chart.update_xaxes(nticks=4)
    _draw(chart, 200, "review_agreement", "Agreement over time")
    st.caption("Agreement of all votes until then; from the upper line on it is reliable, from the lower tentative.")


def first_shown(rate: Mean) -> None:
    """How often the answer that was drawn first won."""
    chart = go.Figure()
    _intervals(chart, ["drawn first"], [rate])
    chart.add_vline(0.5, line={"color": _GRAY, "width": 1, "dash": "dot"})
    chart.update_xaxes(range=[-0.02, 1.02], tickformat=".0%")
    _draw(chart, 120, "review_first_shown", "How often the answer that was drawn first won")
    bent = rate.low > 0.5 or rate.high < 0.5
    st.caption(
        f"The answer that was drawn first won {rate.value:.0%} of the votes ({rate.low:.0%} to {rate.high:.0%}): "
        + ("its place plays a part." if bent else "no sign that its place plays a part.")
    )


def _intervals(chart: go.Figure, names: Sequence[str], values: Sequence[Mean], form: str = ".0%") -> None:
    chart.add_scatter(
        x=[mean.value for mean in values],
        y=[in_chart(name, 60) for name in names],
        mode="markers",
        marker={"color": _COLOR, "size": 10},
        error_x={
            "type": "data", "symmetric": False, "color": _COLOR, "thickness": 1.6,
            "array": [mean.high - mean.value for mean in values],
            "arrayminus": [mean.value - mean.low for mean in values],
        },
        customdata=[[format(mean.low, form), format(mean.high, form), mean.count]
                    for mean in values],
        hovertemplate=f"%{{y}}: %{{x:{form}}} (%{{customdata[0]}} to %{{customdata[1]}}), "
        "%{customdata[2]} items<extra></extra>",
    )  # fmt: skip
    chart.update_yaxes(autorange="reversed", automargin=True)


def _draw(chart: go.Figure, height: int, key: str, alt: str) -> None:
    chart.update_layout(
        height=height, margin={"l": 0, "r": 8, "t": 8, "b": 0}, dragmode=False, showlegend=False,
    )  # fmt: skip
    chart.update_xaxes(fixedrange=True, zeroline=False)
    chart.update_yaxes(fixedrange=True, automargin=True)
    st.plotly_chart(chart, key=key, config={"displayModeBar": False}, alt=alt)
