"""What came of holding a version against another model: figures, the spread by kind of text, and greedy answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import in_chart, short
from phi3core.build import jobs
from phi3core.build.parity import results
from phi3core.build.parity.results import GreedyAnswer, Parity
from phi3core.build.parity.statistics import Figures, Mean
from phi3core.registry.models import Version

from . import version_job

if TYPE_CHECKING:
    import plotly.graph_objects as go

_FRESH = 10.0  # seconds
_LEAST = 1e-7  # what is below is rounding, and has no place on a logarithmic axis
_KINDS = {
    "prose": "Prose",
    "code": "Code",
    "dialogue": "Dialogue",
    "languages": "Other languages",
    "template": "Its own template",
}


def show_against(version: Version, base: Version) -> None:
    """On the page that compares two versions: how far the one is from the other, and the button that finds it out."""
    st.subheader("Token by token", anchor=False)
    with ui.show_errors():
        for found in read(version):
            if found.base == base.ref:
                show(found)
    hint = "Both read the same 4,000 tokens on the machine that runs this app: how far apart are they?"
    start = lambda: jobs.start_parity(ui.config(), version.ref, base.ref, ui.person())  # noqa: E731
    version_job.show(version, "parity", "Hold the right one against the left one", hint, "", start)


def read(version: Version) -> list[Parity]:
    words = "Reading what was compared …"
    return reads.read(words, results.read_results, ui.config(), version, max_age=_FRESH)


def show(found: Parity) -> None:
    report = found.report
    figures = report.figures
    says = f"against {short(found.base_says, 200)}, {figures.tokens:,} tokens, {ui.ago(found.when)}"
    st.markdown(f"**{short(found.ref)}** :gray[{says}]")
    columns = st.columns(4)
    help_ = "How far its predictions are from the other’s, in nats; 0 is the same. With its standard error."
    top, ratio = figures.same_top, figures.ratio
    for column, title, value, error, hint in (
        (columns[0], "Mean KLD", _figure(figures.kl), _figure(figures.kl, error=True), help_),
        (columns[1], "Same top p", f"{top.value:.1%}", f"{top.error:.1%}", None),
        (columns[2], "PPL(Q) / PPL(base)", f"{ratio.value:.3f}", f"{ratio.error:.3f}", None),
    ):
        column.metric(title, value, f"± {error}", "off", help=hint, delta_arrow="off")
    columns[3].metric("Same greedy answers", f"{report.same_answers} of {len(report.answers)}")
    key = f"parity_{found.ref}_{found.base}"
    st.plotly_chart(figure(found), key=key, config={"displayModeBar": False}, alt="KL divergence by kind of text")
    st.caption("The KL divergence of each token, by kind of text; the box holds half of them, the line is the median.")
    rows = {"All of it": figures} | {_KINDS.get(kind, kind): one for kind, one in report.kinds.items()}
    st.table(pd.DataFrame([_row(one) for one in rows.values()], index=[short(name) for name in rows]))
    with st.expander("Greedy answers", icon=":material/call_split:"):
        table = pd.DataFrame([_answer(one) for one in report.answers], index=range(1, len(report.answers) + 1))
        st.table(table)


def figure(found: Parity) -> go.Figure:
    """A box for each kind of text, over a logarithmic axis."""
    import plotly.graph_objects as go

    chart = go.Figure()
    for kind, values in reversed(found.report.kl.items()):
        name = in_chart(_KINDS.get(kind, kind))
        shown = [max(value, _LEAST) for value in values]
        chart.add_box(x=shown, name=name, marker={"color": "#2F86CF", "size": 3}, line={"width": 1.5}, hoverinfo="x")
    chart.update_layout(
        height=60 + 46 * len(found.report.kl),
        margin={"l": 0, "r": 8, "t": 8, "b": 0},
        dragmode=False,
        showlegend=False,
        xaxis={"type": "log", "title": "KL divergence of a token, nats", "fixedrange": True, "exponentformat": "power"},
        yaxis={"automargin": True, "fixedrange": True},
    )
    return chart


def _row(found: Figures) -> dict[str, str]:
    return {
        "Tokens": f"{found.tokens:,}",
        "Mean KLD": f"{_figure(found.kl)} ± {_figure(found.kl, error=True)}",
        "Median": f"{found.kl_median:.4f}",
        "90 %": f"{found.kl_p90:.4f}",
        "99 %": f"{found.kl_p99:.4f}",
        "Largest": f"{found.kl_max:.3f}",
        "Same top p": f"{found.same_top.value:.1%}",
        "PPL(Q)": f"{found.perplexity.value:.2f}",
        "PPL(base)": f"{found.base_perplexity.value:.2f}",
    }


def _answer(found: GreedyAnswer) -> dict[str, str]:
    parted = "the same" if found.parted is None else f"part at token {found.parted + 1} of {found.tokens}"
    words = "" if found.parted is None else f"“{short(found.base_token, 30)}”, it says “{short(found.token, 30)}”"
    return {"Prompt": short(found.prompt, 120), "Answers": parted, "There the other says": words}


def _figure(mean: Mean, error: bool = False) -> str:
    return f"{mean.error if error else mean.value:.4f}"
