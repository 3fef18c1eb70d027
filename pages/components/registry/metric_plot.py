"""A metric over the versions of a registered model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pages.components.shared.escape import in_chart
from phi3core import tags
from phi3core.registry.conditions import Conditions
from phi3core.registry.models import Version

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LINE, _HERE, _PRODUCTION = "#8A97A6", "#2F86CF", "#2E9E5B"  # distinct on a light and on a dark ground
TITLES = {
    tags.TOKENS_PER_SECOND: "Speed, tokens/s",
    tags.FIRST_TOKEN_MS: "First token, ms",
    tags.PEAK_MEMORY: "Memory, MB",
    tags.SIZE_METRIC: "Size, MB",
    tags.SECONDS: "Building it, s",
    tags.LOAD: "Load of other programs, %",
    tags.PARITY_KL: "Mean KL divergence from the source",
    tags.PARITY_KL_HIGH: "The same, upper end of its interval",
    tags.PARITY_KL_P99: "KL divergence, 99th percentile",
    tags.PARITY_SAME_TOP: "Same likeliest token as the source, share",
    tags.PARITY_PERPLEXITY: "Perplexity",
    tags.PARITY_RATIO: "Perplexity / the source’s",
}
_SCALES = {tags.PEAK_MEMORY: 1e-6, tags.SIZE_METRIC: 1e-6}


def title(metric: str) -> str:
    """The name of a metric for a person; that of a benchmark is told as the harness has it."""
    if metric.startswith(tags.BENCHMARK_METRIC):
        return ", ".join(metric.removeprefix(tags.BENCHMARK_METRIC).split("/"))
    return TITLES.get(metric, metric)


def names(versions: Sequence[Version]) -> list[str]:
    """Every metric that one of the versions has: those we measure first."""
    found = {name for version in versions for name in version.metrics}
    return [name for name in TITLES if name in found] + sorted(found - TITLES.keys())


def figure(versions: Sequence[Version], metric: str, here: int) -> go.Figure:
    """A point for each version that has the metric, by their numbers. here: the version whose page is open."""
    import plotly.graph_objects as go

    known = sorted((v for v in versions if metric in v.metrics), key=lambda version: version.version)
    values = [version.metrics[metric] * _SCALES.get(metric, 1.0) for version in known]
    chart = go.Figure(
        go.Scatter(
            x=[version.version for version in known],
            y=values,
            mode="lines+markers",
            line={"color": _LINE, "width": 1.5},
            marker={"size": [12 if v.version == here else 8 for v in known], "color": [_color(v, here) for v in known]},
            customdata=[[v.version, "" if v.stage == "None" else f" · {v.stage}"] for v in known],
            hovertemplate="version %{customdata[0]}%{customdata[1]}<br>%{y:,.4~g}<extra></extra>",
            showlegend=False,
        )
    )
    _lay_out(chart, "version", [version.version for version in known])
    return chart


def steps_figure(measurements: Sequence[tuple[int, float, Conditions | None]], metric: str) -> go.Figure:
    """A point for each time that a version was measured, the build's first; hollow where the machine was busy."""
    import plotly.graph_objects as go

    chart = go.Figure(
        go.Scatter(
            x=[step for step, _, _ in measurements],
            y=[value * _SCALES.get(metric, 1.0) for _, value, _ in measurements],
            mode="lines+markers",
            line={"color": _LINE, "width": 1.5},
            marker={
                "size": 9,
                "color": _HERE,
                "symbol": ["circle-open" if found and found.busy else "circle" for _, _, found in measurements],
            },
            customdata=[in_chart(str(found)) if found else "not recorded where" for _, _, found in measurements],
            hovertemplate="measurement %{x}<br>%{y:,.4~g}<br>%{customdata}<extra></extra>",
            showlegend=False,
        )
    )
    _lay_out(chart, "measurement", [step for step, _, _ in measurements])
    return chart


def _lay_out(chart: go.Figure, title: str, numbers: Sequence[int]) -> None:
    """For whole numbers from left to right, each with its tick where they are few."""
    chart.update_layout(
        height=260,
        margin={"l": 0, "r": 8, "t": 8, "b": 0},
        dragmode=False,
        xaxis={
            "title": title,
            "tickvals": list(numbers) if len(numbers) <= 12 else None,
            "tickformat": "d",
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        yaxis={"rangemode": "tozero", "automargin": True, "fixedrange": True, "zeroline": False, "nticks": 5},
    )


def _color(version: Version, here: int) -> str:
    if version.version == here:
        return _HERE
    return _PRODUCTION if version.stage == "Production" else _LINE
