"""Promotions: which version was in a stage when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import plotly.graph_objects as go
import pytest

from pages.components.promotions import timeline
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.timeline import Span
from phi3core.promotion.record.timeline import spans as spans_of
from tests.app.conftest import Open
from tests.app.dialogs import keys_of, plain


def test_the_timeline_is_of_one_model_and_a_way_back(open_page: Open, history: list[Record]) -> None:
    at = open_page("promotions", view="timeline")
    assert not at.exception
    assert at.selectbox(key="promotions_model").value == "phi3", "the first that has a Production"
    assert "timeline_rollback" in keys_of(at)
    at.selectbox(key="promotions_model").set_value("other").run()
    assert "No version of other was in Production yet" in plain(at)


NOW = datetime(2026, 6, 1, tzinfo=UTC)


def chart(count: int) -> go.Figure:
    """Each version a day in Production, the last one still there."""
    starts = [NOW - timedelta(days=count - at) for at in range(count)]
    spans = [Span(at + 1, start, start + timedelta(days=1), f"r{at}") for at, start in enumerate(starts)]
    spans[-1] = Span(count, starts[-1], None, spans[-1].record)
    return timeline.figure(spans, {}, "Production", NOW)


@pytest.mark.parametrize("count", [1, 3, 100])
def test_a_bar_for_each_span_the_newest_on_top_and_the_present_one_marked(count: int) -> None:
    figure = chart(count)
    (bars,) = figure.data
    assert len(bars.x) == count
    assert list(bars.x) == [timedelta(days=1).total_seconds() * 1000] * count
    assert bars.marker.color[-1] not in bars.marker.color[:-1]
    assert len(figure.layout.yaxis.ticktext) <= 40, "names would cover each other"
    assert figure.layout.height <= 620
    assert "2026-06-01 00:00" not in bars.customdata[-1][1]
    assert "– now UTC" in bars.customdata[-1][1]


def test_the_axis_of_what_was_just_done_is_not_labelled_by_parts_of_a_second() -> None:
    span = Span(1, NOW, None, "r1")

    axis = timeline.figure([span], {}, "Production", NOW + timedelta(seconds=1)).layout.xaxis

    assert axis.range[1] - axis.range[0] == timedelta(minutes=1)


def test_pointing_at_a_bar_tells_who_and_why_and_runs_nothing(history: list[Record]) -> None:
    spans = spans_of(history)
    by_id = {record.id: record for record in history}
    told = timeline.figure(spans, by_id, "Production", datetime.now(UTC)).data[0].customdata
    assert "promote by ruth@example.org<br>First" in told[0][1]
    evil = {record.id: _with_reason(record, "<a href='x'>" + "y" * 900) for record in history}
    told = timeline.figure(spans, evil, "Production", datetime.now(UTC)).data[0].customdata
    assert "<a" not in told[0][1]
    assert len(told[0][1]) < 600


def _with_reason(record: Record, reason: str) -> Record:
    from dataclasses import replace

    return replace(record, reason=reason)
