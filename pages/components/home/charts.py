"""Speed and use of versions over time, as charts whose points lead to the version's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import plotly.graph_objects as go
import streamlit as st

from pages.components.shared.escape import in_chart
from phi3core import tags
from phi3core.registry.models import Version

_COLORS = ("#2F86CF", "#2E9E5B", "#C77E23", "#8E6BBF", "#C2557A")  # distinct on a light and on a dark ground
_OTHER = "#8A97A6"
_HEIGHT = 240


def speed(versions: Sequence[Version]) -> None:
    """Tokens a second of each version that was measured, by when it was registered."""
    measured = sorted((v for v in versions if tags.TOKENS_PER_SECOND in v.metrics), key=lambda v: v.created)
    if not measured:
        st.caption("No version was measured yet.")
        return
    chart = go.Figure()
    for at, name in enumerate(dict.fromkeys(version.name for version in measured)):
        own = [version for version in measured if version.name == name]
        chart.add_scatter(
            x=[v.created for v in own],
            y=[v.metrics[tags.TOKENS_PER_SECOND] for v in own],
            mode="lines+markers",
            name=in_chart(name),
            line={"width": 1.5, "color": _color(at)},
            cliponaxis=False,  # a slow one lies on the axis, and is a whole point
            marker={"size": [12 if v.stage == "Production" else 8 for v in own], "color": _color(at)},
            customdata=[[v.ref, in_chart(v.ref) + _stage(v), _measured(v)] for v in own],
            hovertemplate="%{customdata[1]}<br>%{y:,.0f} tokens/s%{customdata[2]}<extra></extra>",
        )
    chart.update_layout(yaxis={"title": "tokens/s"}, xaxis={"nticks": 4})
    _draw(chart, "home_speed", "Speed of versions over time")


def use(counts: Mapping[tuple[date, str], int]) -> None:
    """Answers of each version, by day."""
    if not counts:
        st.caption("No version has answered yet.")
        return
    refs = sorted({ref for _, ref in counts}, key=lambda ref: -sum(n for (_, of), n in counts.items() if of == ref))
    chart = go.Figure()
    for at, ref in enumerate(refs):
        days = sorted(day for day, of in counts if of == ref)
        chart.add_bar(
            x=days,
            y=[counts[day, ref] for day in days],
            name=in_chart(ref),
            marker={"color": _color(at)},
            customdata=[[ref, in_chart(ref)]] * len(days),
            hovertemplate="%{customdata[1]}<br>%{y:,} answers on %{x|%Y-%m-%d}<extra></extra>",
        )
    few = len({day for day, _ in counts}) <= 10
    days_axis = {"dtick": 86_400_000 if few else None, "tickformat": "%b %d"}
    chart.update_layout(barmode="stack", yaxis={"title": "answers a day"}, xaxis=days_axis)
    if max(counts.values()) <= 4:  # else an axis of few answers is labelled by halves
        chart.update_layout(yaxis={"dtick": 1})
    _draw(chart, "home_use", "Answers of versions by day")


def _stage(version: Version) -> str:
    return "" if version.stage == "None" else f" · {version.stage}"


def _measured(version: Version) -> str:
    return f"<br>{in_chart(str(version.measured))}" if version.measured else ""


def _color(at: int) -> str:
    return _COLORS[at] if at < len(_COLORS) else _OTHER


def _draw(chart: go.Figure, key: str, alt: str) -> None:
    chart.update_layout(
        height=_HEIGHT,
        margin={"l": 0, "r": 8, "t": 8, "b": 0},
        dragmode=False,
        showlegend=True,
        legend={"orientation": "h", "y": -0.25},
    )
    chart.update_xaxes(type="date", showgrid=False, fixedrange=True, automargin=True)
    chart.update_yaxes(rangemode="tozero", automargin=True, fixedrange=True, zeroline=False, nticks=5)
    event = st.plotly_chart(
        chart, key=key, on_select="rerun", selection_mode="points", config={"displayModeBar": False}, alt=alt
    )
    points = event["selection"]["points"]
    if points and points[0].get("customdata"):
        _open(str(points[0]["customdata"][0]))


def _open(ref: str) -> None:
    name, _, number = ref.rpartition("/")
    if name and number.isdecimal():
        st.switch_page("pages/registry_page.py", query_params={"model": name, "version": number})
