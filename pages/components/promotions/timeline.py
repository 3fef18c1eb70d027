"""Which version was in a stage, and when: one bar for each time a version spent there."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import plotly.graph_objects as go
import streamlit as st

from pages.components.registry import rollback_dialog
from pages.components.shared import store_reads, ui
from pages.components.shared.escape import in_chart, short
from phi3core.promotion.record import timeline
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.timeline import Span

from . import record_list, record_reads

STAGES = ("Production", "Staging")
_ICON = ":material/view_timeline:"
_NOW, _PAST = "#2E9E5B", "#8A97A6"  # distinct on a light and on a dark ground
_ROW, _LEAST, _MOST = 30, 110, 620  # pixels
_LINE = 48  # letters of a line in a hover
_WORDS = 240  # letters of a reason in a hover
_SHORTEST = 60.0  # seconds of the axis: a shorter one is labelled by parts of a second
_THIN = 0.004  # of the whole time: a shorter bar would be invisible


def show(model: str) -> None:
    """One model's timeline, with the record of the bar that is clicked below it. Raises Phi3Error."""
    with st.container(horizontal=True, vertical_alignment="center"):
        chosen = st.segmented_control(
            "Stage", STAGES, key="promotions_stage", required=True, label_visibility="collapsed",
            format_func=lambda stage: f"{ui.STAGE_ICONS[stage]} {stage}",
        )  # fmt: skip
        stage = chosen or STAGES[0]
        roll_back = ui.person().may("releaser") and stage == "Production"
        if roll_back and st.button("Roll back", icon=":material/undo:", key="timeline_rollback", type="tertiary"):
            rollback_dialog.show(model, store_reads.versions(model))
    found = record_reads.of_model(model)
    spans = timeline.spans(found, stage)
    if not spans:
        st.info(f"No version of {short(model)} was in {stage} yet, as far as the record tells.", icon=_ICON)
        return
    by_id = {record.id: record for record in found}
    event = st.plotly_chart(
        figure(spans, by_id, stage, _now(model, found[0].id)),
        key=f"timeline_{stage}",
        on_select="rerun",
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"Which version of {model} was in {stage} when",
    )
    st.caption("Times are UTC; green is there now. Point at a bar to see who moved it there and why, or click it.")
    points = event["selection"]["points"]
    clicked = by_id.get(str(points[0]["customdata"][0])) if points and points[0].get("customdata") else None
    if clicked:
        record_list.detail(clicked, link=True)


def _now(model: str, newest: str) -> datetime:
    """The end of the chart, the same until something is done: one that moves would forget the click on a bar."""
    about, now = st.session_state.get("timeline_now", ("", None))
    if about != (model, newest):
        now = datetime.now(UTC)
        st.session_state["timeline_now"] = (model, newest), now
    assert isinstance(now, datetime)
    return now


def figure(spans: Sequence[Span], records: Mapping[str, Record], stage: str, now: datetime) -> go.Figure:
    """A bar for each span, in a row for each version, the newest version on top. spans must not be empty."""
    first, last = min(span.start for span in spans), now
    whole = max((last - first).total_seconds(), _SHORTEST)
    end = first + timedelta(seconds=whole)
    numbers = sorted({span.version for span in spans})
    row = {number: at for at, number in enumerate(numbers)}
    seconds = [max(((span.end or last) - span.start).total_seconds(), whole * _THIN) for span in spans]
    chart = go.Figure(
        go.Bar(
            orientation="h",
            base=[span.start for span in spans],
            x=[value * 1000 for value in seconds],
            y=[row[span.version] for span in spans],
            width=0.62 if len(numbers) * _ROW <= _MOST else 0.95,
            marker={"color": [_PAST if span.end else _NOW for span in spans], "line": {"width": 0}},
            customdata=[[span.record, _hover(span, records.get(span.record), stage)] for span in spans],
            hovertemplate="%{customdata[1]}<extra></extra>",
            showlegend=False,
        )
    )
    many = len(numbers) * _ROW > _MOST
    shown = numbers[:: -(-len(numbers) * 16 // _MOST)] if many else numbers
    chart.update_layout(
        height=min(_MOST, max(_LEAST, 62 + _ROW * len(numbers))),
        margin={"l": 0, "r": 8, "t": 8, "b": 0},
        bargap=0.3,
        dragmode=False,
        hoverlabel={"align": "left"},
        xaxis={"type": "date", "range": [first, end], "showgrid": True, "automargin": True, "fixedrange": True},
        yaxis={
            "tickvals": [row[number] for number in shown],
            "ticktext": [f"version {number} " for number in shown],
            "range": [-0.6, len(numbers) - 0.4],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
            "fixedrange": True,
        },
    )
    return chart


def _hover(span: Span, record: Record | None, stage: str) -> str:
    """Plotly's own small HTML; what people wrote is escaped."""
    until = f"{span.end:%Y-%m-%d %H:%M}" if span.end else "now"
    lines = [f"<b>version {span.version}</b> in {stage}", f"{span.start:%Y-%m-%d %H:%M} – {until} UTC"]
    if record is None:
        return "<br>".join([*lines, "not by a promotion that is on record"])
    lines.append(f"{in_chart(record.action)} by {in_chart(record.user)}")
    reason = textwrap.shorten(record.reason, _WORDS, placeholder=" …")
    lines += [in_chart(part) for part in textwrap.wrap(reason, _LINE)] or ["no reason given"]
    return "<br>".join(lines)
