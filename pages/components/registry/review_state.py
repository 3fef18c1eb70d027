"""What waits for a decision and how often versions were judged, for the lists: two questions for all rows together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from pages.components.shared import live_part, reads, ui
from phi3core.promotion.policy import requests
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.traces import feedback

STATES = {"asked": "orange", "approved": "green"}
_FRESH_REQUESTS, _FRESH_COUNTS = 5.0, 30.0  # seconds
_PATIENCE = 0.15  # seconds that a list waits for what was never read


@dataclass(frozen=True)
class ReviewState:
    """statuses: of the requests that wait, by model and version. counts: of reviews, by the version's reference."""

    statuses: Mapping[tuple[str, int], str]
    counts: Mapping[str, int]

    def of(self, version: Version) -> list[str]:
        """What the column says of a version."""
        status = self.statuses.get((version.name, version.version))
        words = [] if status is None else ["approved" if status == "approved" else "asked"]
        if count := self.counts.get(version.ref):
            words.append(ui.counted(count, "review"))
        return words


def known() -> ReviewState:
    """As it is known, however old. Waits for nothing."""
    waiting = reads.latest(requests.waiting, ui.config(), patience=0).value or ()
    counts = reads.latest(feedback.count_reviews, ui.config(), patience=0).value or {}
    return ReviewState({(request.model, request.version): request.status for request in waiting}, counts)


def to_draw() -> ReviewState:
    """`known`, for a list that is being drawn: what was never read is waited for, and drawn later where that is long.

    Nothing is read anew now, when the page has more to do: `refresh` has that done later.
    """
    _await_first(requests.waiting, feedback.count_reviews)
    return known()


def waiting(names: Sequence[str]) -> list[list[str]]:
    """What the column says of each model: how many requests wait. Waits as `to_draw` does."""
    _await_first(requests.waiting)
    found = reads.latest(requests.waiting, ui.config(), patience=0).value or ()
    models = [request.model for request in found]
    return [[f"{models.count(name)} asked"] if name in models else [] for name in names]


def refresh() -> None:
    """Have both read anew in the background, where they are not of just now."""
    reads.latest(requests.waiting, ui.config(), max_age=_FRESH_REQUESTS, patience=0)
    reads.latest(feedback.count_reviews, ui.config(), max_age=_FRESH_COUNTS, patience=0)


def _await_first(*functions: Callable[[Settings], object]) -> None:
    if any(_unread(function, _PATIENCE) for function in functions if _unread(function, 0)):
        live_part.draw(_redraw_when_read, every=0.7)


def _unread(function: Callable[[Settings], object], patience: float) -> bool:
    """Whether it is being read for the first time."""
    reading = reads.latest(function, ui.config(), patience=patience)
    return reading.value is None and reading.pending


def _redraw_when_read(by_itself: bool) -> None:
    functions: list[Callable[[Settings], object]] = [requests.waiting, feedback.count_reviews]
    if by_itself and not any(reads.latest(function, ui.config(), patience=0).pending for function in functions):
        st.rerun()
