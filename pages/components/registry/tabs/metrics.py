"""The tab with a version's metrics, one of them over all versions of its model."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.registry import metric_plot
from pages.components.shared import ui
from pages.components.shared.escape import short
from phi3core.registry.models import Version


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
        st.caption(f"{title}. Blue is {short(version.ref)}, green is in Production.")
    elif metric not in version.metrics:
        st.caption(f"{short(version.ref)} has no {metric}.")
    if version.metrics:
        ui.show_table({name: _number(value) for name, value in sorted(version.metrics.items())})
    else:
        st.caption(f"The source run of {short(version.ref)} recorded none.")


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
