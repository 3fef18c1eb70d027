"""A review is made: what is judged, how, by whom, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import get_args

import streamlit as st

from pages.components.compare import candidates
from pages.components.shared import reads, ui
from phi3core.access.roles import Person
from phi3core.build.spec import MAX_TOKENS
from phi3core.errors import Phi3Error
from phi3core.evaluation import jobs, prompt_sets, results
from phi3core.evaluation.evaluate import MOST_VERSIONS, find_targets
from phi3core.evaluation.judgement import Form
from phi3core.evaluation.results import EvaluationRun
from phi3core.evaluation.reviews import create
from phi3core.evaluation.reviews.plan import MOST_REVIEWS, Plan, check_plan
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.timestamps import from_ms, to_ms

FORMS: dict[Form, str] = {
    "pairwise": "Which of two answers is better",
    "rating": "1 to 5, on criteria",
    "pass": "Pass or fail",
    "text": "In one's own words",
}
"""How a review is answered, in words."""

_EVALUATION, _SET = "An evaluation's answers", "A prompt set, answered first"


def show(me: Person) -> None:
    """Draw the form."""
    with st.expander("New review", icon=":material/add:", expanded=False):
        if not me.may("reviewer"):
            st.caption("Making a review needs the role reviewer.")
            return
        source = st.segmented_control("What is judged", [_EVALUATION, _SET], default=_EVALUATION, key="review_source")
        with ui.stop_on_error():
            chosen = _choose_evaluation() if source != _SET else ""
            asked = _choose_set() if source == _SET else ("", [], 0)
        plan = _plan()
        if st.button("Make it", type="primary", icon=":material/rate_review:", key="review_make"):
            try:
                if source == _SET:
                    reads.wait_for("Looking at the versions …", _begin, ui.config(), ui.servers(), plan, asked, me)
                else:
                    reads.wait_for("Making the review …", create.create, ui.config(), plan, chosen, me)
            except Phi3Error as error:
                ui.show_error(str(error))
            else:
                reads.invalidate()
                st.rerun()


def _choose_evaluation() -> str:
    found = reads.read("Reading the evaluations …", results.search_evaluations, ui.config(), max_age=5)
    complete = {one.run_id: one for one in found if one.complete}
    if not complete:
        st.caption("No evaluation is complete yet: have a prompt set answered first, here or on the page Evaluate.")
    chosen = st.selectbox(
        "Evaluation", list(complete), format_func=lambda id: _label(complete[id]), key="review_evaluation"
    )
    return chosen or ""


def _label(one: EvaluationRun) -> str:
    asked = f"{one.prompt_set.split('@')[0]}: {', '.join(one.refs)} · {ui.counted(one.items, 'item')}"
    return f"{asked} · {one.by}, {from_ms(one.when):%Y-%m-%d %H:%M}"  # the same may have been asked with other options


def _choose_set() -> tuple[str, Sequence[str], int]:
    sets = reads.read("Reading the prompt sets …", _set_refs, ui.config(), max_age=5)
    left, right = st.columns(2)
    chosen = left.selectbox("Prompt set", sets, key="review_set")
    versions = candidates.listed()
    if "review_refs" not in st.session_state:
        st.session_state["review_refs"] = candidates.suggested(versions)
    known = [*st.session_state["review_refs"], *(version.ref for version in versions)]
    refs = right.multiselect(
        "Versions", list(dict.fromkeys(known)), key="review_refs", accept_new_options=True,
        max_selections=MOST_VERSIONS, placeholder="name/3, name@alias, name/Production or endpoint:NAME",
    )  # fmt: skip
    longest = st.number_input("Longest answer, in tokens", 1, MAX_TOKENS, 256, key="review_max_tokens", width=200)
    return chosen or "", refs, int(longest)


def _set_refs(settings: Settings) -> list[str]:
    return [one.ref for one in prompt_sets.all_sets(settings)]


def _plan() -> Plan:
    question = st.text_input("Question", placeholder="Is 7 fit to replace 5?", key="review_question", max_chars=500)
    left, right = st.columns(2)
    form = left.selectbox("How it is answered", get_args(Form), format_func=FORMS.__getitem__, key="review_form")
    criteria: list[str] = []
    if form == "rating":
        criteria = right.multiselect(
            "Criteria", ["helpful", "true", "clear", "short"], ["helpful", "true"], accept_new_options=True,
            key="review_criteria",
        )  # fmt: skip
    reviewers = st.multiselect(
        "Reviewers", ["role:reviewer"], key="review_reviewers", accept_new_options=True,
        placeholder="Everybody who may review; or e-mails, group:NAME, role:reviewer",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        reviews = st.number_input("Votes for each item", 1, MOST_REVIEWS, 2, key="review_count", width=160)
        deadline = st.date_input("Last day", None, min_value="today", key="review_deadline", width=160)
        checks = st.number_input(
            "Items that come twice, %", 0, 50, 0, 5, key="review_checks", width=200,
            help="Whoever judged such an item gets it once more, later: it shows who looks closely.",
        )  # fmt: skip
    return Plan(
        question, form or "pairwise", tuple(reviewers), int(reviews), tuple(criteria), _end_of(deadline), checks / 100
    )


def _end_of(day: object) -> int:
    if not isinstance(day, date):
        return 0
    return to_ms(datetime.combine(day, time(23, 59, 59), UTC))


def _begin(
    settings: Settings, pool: Pool, plan: Plan, asked: tuple[str, Sequence[str], int], me: Person
) -> jobs.EvaluationJob:
    """Have the set answered in the background, and the review made of the answers."""
    prompt_set, refs, longest = asked
    plan = check_plan(plan, len(find_targets(settings, refs)))
    options = {"max_tokens": longest, "temperature": 0.0, "seed": 1}
    return jobs.start(
        settings, pool, prompt_set, refs, options, me, purpose=plan.question,
        then=lambda run_id: create.create(settings, plan, run_id, me),
    )  # fmt: skip
