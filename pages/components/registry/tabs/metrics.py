"""The tab with a version's metrics, one of them over all versions of its model and over its own measurements."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.registry import metric_plot
from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.registry import reader
from phi3core.registry.conditions import Conditions
from phi3core.registry.models import Version

_FRESH = 5.0  # seconds: every choice of a metric draws the tab anew


def show(version: Version, listed: Sequence[Version]) -> None:
    names = metric_plot.names(listed)
    if not names:
        st.caption("No version of this model has metrics: their source runs recorded none.")
        return
    metric = st.selectbox("Metric", names, format_func=metric_plot.title, key="version_metric", width=340)
    count = sum(metric in other.metrics for other in listed)
    if count > 1:
        figure = metric_plot.figure(listed, metric, version.version)
        title = f"{metric_plot.title(metric)}, over the versions of {version.name}"
        st.plotly_chart(figure, key="version_plot", config={"displayModeBar": False}, alt=title)
        st.caption(f"{short(title, 250)}. Blue is {short(version.ref)}, green is in Production.")
    elif metric not in version.metrics:
        st.caption(f"{short(version.ref)} has no {short(metric)}.")
    if metric in version.metrics:
        _measurements(version, metric)
    if version.metrics:
        rows = {name: _number(value) for name, value in sorted(version.metrics.items())}
        ui.show_table(rows | (_machine(version.measured) if version.measured else {}))
    else:
        st.caption(f"The source run of {short(version.ref)} recorded none.")


def _measurements(version: Version, metric: str) -> None:
    """How often it was measured, and what came out each time."""
    with ui.show_errors():
        config, words = ui.config(), "Reading the measurements …"
        found = reads.read(words, reader.list_measurements, config, version.run_id, metric, max_age=_FRESH)
        if len(found) < 2:
            return
        title = f"{metric_plot.title(metric)}, over the measurements of {version.ref}"
        figure = metric_plot.steps_figure(found, metric)
        st.plotly_chart(figure, key="version_steps", config={"displayModeBar": False}, alt=title)
        st.caption(f"{short(title)}; 0 is the build’s. Where the machine was busy, its point is hollow.")


def _machine(measured: Conditions) -> dict[str, str]:
    load = "not told" if measured.load is None else f"{measured.load * 100:.0f} %"
    return {
        "CPU": measured.cpu,
        "Cores, threads used": f"{measured.cores}, {measured.threads}",
        "Memory of the machine": ui.size(measured.memory_bytes),
        "Cores that other programs took": load,
        "Measured": f"{measured.when:%Y-%m-%d %H:%M} UTC",
    }


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
