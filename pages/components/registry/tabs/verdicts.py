"""The reviews and evaluations in which a version took part: what a policy may rest on."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.evaluation import results
from phi3core.evaluation.results import EvaluationRun
from phi3core.evaluation.reviews import review
from phi3core.evaluation.reviews.review import Review
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.timestamps import from_ms

_FRESH = 20.0  # seconds
_SHOWN = 5  # of each kind
_TITLE = 48  # letters: a link is cut, not wrapped, on a phone


def show(version: Version) -> bool:
    """Draw the newest ones, each with the way to it. Returns whether there is any."""
    judged, evaluated = reads.read(
        "Reading the reviews and evaluations …", _read, ui.config(), version.ref, max_age=_FRESH
    )
    if judged or evaluated:
        st.caption("Reviews and evaluations, the newest first")
    for one in judged[:_SHOWN]:
        _row(
            "pages/review_page.py", {"r": one.id} | ({"view": "results"} if one.closed else {}), one.plan.question,
            ":material/rate_review:", f"{_STATES[one.state]} · {ui.counted(one.items, 'item')}", one.by, one.when,
        )  # fmt: skip
    for run in evaluated[:_SHOWN]:
        others = [ref for ref in run.refs if ref != version.ref]
        beside = f"with {', '.join(others)}" if others else "alone"
        _row(
            "pages/evaluate_page.py", {"run": run.run_id}, f"{run.prompt_set.split('@')[0]}, {beside}",
            ":material/checklist:", ui.counted(run.items, "item"), run.by, run.when,
        )  # fmt: skip
    more = len(judged[_SHOWN:]) + len(evaluated[_SHOWN:])
    if more:
        st.caption(f"and {more:,} more, on the pages Review and Evaluate.")
    return bool(judged or evaluated)


_STATES = {"open": "open", "over": "past its deadline", "closed": "closed"}


def _read(settings: Settings, ref: str) -> tuple[list[Review], list[EvaluationRun]]:
    judged = [one for one in review.search_reviews(settings) if ref in one.refs]
    evaluated = [run for run in results.search_evaluations(settings) if run.complete and ref in run.refs]
    return judged, evaluated


def _row(page: str, query: dict[str, str], label: str, icon: str, about: str, by: str, when: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link(page, label=short(label, _TITLE), icon=icon, query_params=query)
        st.caption(f"{about} · {short(by, 40)} · {ui.ago(from_ms(when))}", width="content")
