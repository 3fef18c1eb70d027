"""How good the versions of a model are against what they cost, and those that no other one beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.components.shared.escape import in_chart, short
from phi3core import tags
from phi3core.registry import trade_off
from phi3core.registry.models import Version
from phi3core.registry.trade_off import Point

from . import metric_plot, navigation

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COSTS = {tags.SIZE_METRIC: "Size, MB", tags.TOKENS_PER_SECOND: "Speed, tokens/s"}
_POINT, _HERE, _FRONT = "#8A97A6", "#2F86CF", "#2E9E5B"  # distinct on a light and on a dark ground


def show(versions: Sequence[Version], here: int = 0) -> None:
    """The plot, where two versions have something to trade; a click on one opens it. here: the version that is open."""
    names = trade_off.qualities(versions)
    if not names:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        quality = st.selectbox(
            "Trade", names, format_func=metric_plot.title, key="trade_quality", width=340
        )  # fmt: skip
        cost = st.segmented_control(
            "for", list(_COSTS), format_func=_COSTS.__getitem__, default=tags.SIZE_METRIC, required=True,
            key="trade_cost",
        )  # fmt: skip
    points = trade_off.find_points(versions, cost or tags.SIZE_METRIC, quality)
    chosen: Any = st.plotly_chart(
        figure(points, cost or tags.SIZE_METRIC, here), key=f"trade_{quality}_{cost}_{here}",
        config={"displayModeBar": False}, on_select="rerun", selection_mode="points",
        alt=f"{metric_plot.title(quality)} over {_COSTS[cost or tags.SIZE_METRIC]}, for each version",
    )  # fmt: skip
    name = versions[0].name
    st.caption(f"Versions of {short(name)}. Green: no other one is better in both. A click opens a version.")
    open_chosen(chosen.selection.points, name, here)


def open_chosen(points: Sequence[Mapping[str, Any]], name: str, here: int) -> None:
    """Go to the version whose point was clicked, unless that is the one that is open. points: Plotly's selection."""
    if points and (number := points[0]["customdata"][0]) != here:
        navigation.go({"model": name, "version": str(number), "tab": "Parity"})


def figure(points: Sequence[Point], cost: str, here: int) -> go.Figure:
    """A point for each version, and a line through those that no other one beats."""
    import plotly.graph_objects as go

    scale = 1e-6 if cost == tags.SIZE_METRIC else 1.0
    front = [point for point in points if point.best]
    chart = go.Figure()
    chart.add_scatter(
        x=[point.cost * scale for point in front], y=[point.quality for point in front], mode="lines",
        line={"color": _FRONT, "width": 1.5, "dash": "dot"}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    chart.add_scatter(
        x=[point.cost * scale for point in points], y=[point.quality for point in points], mode="markers+text",
        text=[in_chart(f"{point.version.version} · {point.version.precision}", 40) for point in points],
        textposition="top center", showlegend=False, cliponaxis=False,
        marker={"size": [13 if p.version.version == here else 9 for p in points],
                "color": [_color(point, here) for point in points]},
        customdata=[[point.version.version] for point in points],
        hovertemplate="version %{customdata[0]}<br>%{y:,.4~g}<br>%{x:,.4~g}<extra></extra>",
    )  # fmt: skip
    chart.update_layout(
        height=320, margin={"l": 0, "r": 24, "t": 24, "b": 0}, dragmode=False,
        xaxis={"title": _COSTS.get(cost, cost), "fixedrange": True, "rangemode": "tozero", "zeroline": False},
        yaxis={"automargin": True, "fixedrange": True, "rangemode": "tozero", "zeroline": False, "nticks": 6,
               "exponentformat": "power"},
    )  # fmt: skip
    return chart


def _color(point: Point, here: int) -> str:
    if point.version.version == here:
        return _HERE
    return _FRONT if point.best else _POINT
