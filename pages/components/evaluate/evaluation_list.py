"""The evaluations in the store: each opens, shows how far it is wherever it is made, and goes on where it broke off."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.evaluation import jobs, results
from phi3core.evaluation.results import EvaluationRun
from phi3core.timestamps import from_ms

from .progress import result_link

_SHOWN = 30


def show(me: Person) -> None:
    """Draw the newest ones, again every few seconds while one is made elsewhere."""
    st.subheader("Evaluations", anchor=False)
    with ui.stop_on_error():
        found = reads.read("Reading the evaluations …", results.search_evaluations, ui.config(), max_age=5)
    if not found:
        st.caption("None yet. Choose a prompt set and versions above; “everyday” takes a small model a minute or two.")
        return
    elsewhere = any(one.progress is not None and not _ours(one) for one in found[:_SHOWN])
    live_part.draw(_rows, me, every=5.0 if elsewhere else None)
    if len(found) > _SHOWN:
        st.caption(f"{len(found) - _SHOWN:,} older ones are listed by `phi3 evaluations`.")


def _rows(_by_itself: bool, me: Person) -> None:
    with ui.show_errors():
        found = reads.read("Reading the evaluations …", results.search_evaluations, ui.config(), max_age=5)
        for one in found[:_SHOWN]:
            _row(one, me)


def _row(one: EvaluationRun, me: Person) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        result_link(one.run_id, f"{one.prompt_set.split('@')[0]}: {', '.join(one.refs)}", f"evaluate_{one.run_id}")
        state = ""
        if one.progress is not None:
            far = f"{one.progress.done:,} of {ui.counted(one.progress.total, 'answer')}"
            state = f" · :blue-badge[under way on {short(one.progress.host, 40)}: {far}]"
        elif not one.complete:
            state = " · :orange-badge[incomplete]"
        st.caption(f"{ui.counted(one.items, 'item')} · {short(one.by)} · {ui.ago(from_ms(one.when))}{state}")
        key = f"evaluate_end_{one.run_id}"
        may = one.progress is not None and not _ours(one) and jobs.may_stop(one.progress.by, me)
        if may and st.button("Stop", icon=":material/stop_circle:", key=key, type="tertiary"):
            with ui.show_errors():
                reads.wait_for("Stopping …", jobs.stop_elsewhere, ui.config(), one, me)
                st.toast("It stops within a few seconds.", icon=":material/stop_circle:")
        broken_off = one.progress is None and not one.complete and not _ours(one)
        key = f"evaluate_go_on_{one.run_id}"
        if broken_off and me.may("reviewer") and st.button("Go on", icon=":material/resume:", key=key, type="tertiary"):
            _go_on(one, me)


def _go_on(one: EvaluationRun, me: Person) -> None:
    """Start it once more: what is there already is not asked again."""
    with ui.show_errors():
        arguments = (ui.config(), ui.servers(), one.prompt_set, one.refs, dict(one.options), me)
        reads.wait_for("Looking at the versions …", jobs.start, *arguments)
        reads.invalidate()
        st.rerun()


def _ours(one: EvaluationRun) -> bool:
    """Whether this app makes it at this moment, and shows it above."""
    return any(
        job.state == "running"
        and (job.prompt_set, set(job.refs), job.options) == (one.prompt_set, set(one.refs), one.options)
        for job in jobs.recent()
    )
