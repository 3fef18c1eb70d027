"""Which version was in a stage when, by the records."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from phi3core.errors import Conflict
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search, timeline, writer
from phi3core.promotion.record.timeline import Span
from phi3core.settings import Settings
from tests.promotion.record.helpers import ADA, add
from tests.support.fakes import register


def test_the_timeline_tells_which_version_was_in_production_when(three: Settings) -> None:
    promote(three, "phi3/2", "Staging")
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/1", "Archived")
    listed = search.of_model(three, "phi3")

    spans = timeline.spans(listed)

    starts = [record.started for record in reversed(listed) if "Staging" not in (record.new, record.old)]
    assert [(span.version, span.start, span.end) for span in spans] == [
        (1, starts[0], starts[1]),
        (2, starts[1], starts[2]),
        (3, starts[2], starts[3]),
        (1, starts[3], starts[4]),
    ]
    assert [(span.version, span.end) for span in timeline.spans(listed, "Staging")] == [(2, None)]
    assert {span.record for span in spans} <= {record.id for record in listed}


def test_a_failed_promotion_is_not_in_the_timeline(settings: Settings) -> None:
    register(settings)
    with pytest.raises(Conflict), writer.opened(
        settings, ADA, model="phi3", version=1, action="promote", old="None", new="Production"
    ):  # fmt: skip
        raise Conflict("no")

    assert timeline.spans(search.of_model(settings, "phi3")) == []


def test_promotions_count_in_the_order_in_which_they_took_effect(settings: Settings) -> None:
    first, second = (add(settings, version=number, action="promote", old="None", new="Production") for number in (1, 2))
    assert first.ended is not None
    late = dataclasses.replace(first, ended=first.ended + timedelta(minutes=1))

    assert timeline.holder([second, first], "Production") == 2
    assert timeline.holder([second, late], "Production") == 1
    assert timeline.spans([second, late])[-1] == Span(1, second.started, None, first.id)
