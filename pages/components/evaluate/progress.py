"""The evaluations that this app makes at the moment, and the last ones that ended."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import live_part, reads, running_job, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.evaluation import jobs
from phi3core.evaluation.jobs import EvaluationJob


def show(me: Person) -> None:
    """Draw them, again every second while one runs."""
    running = any(job.state == "running" for job in jobs.recent())
    live_part.draw(_jobs, me, running, every=1.0 if running else None)


def _jobs(by_itself: bool, me: Person, running: bool) -> None:
    listed = jobs.recent()
    for job in listed:
        _job(job, me)
    if by_itself and running and not any(job.state == "running" for job in listed):
        reads.invalidate()  # the list below has one more, or one that is complete now
        st.rerun()


def _job(job: EvaluationJob, me: Person) -> None:
    name = f"{short(job.prompt_set)}: {short(', '.join(job.refs), 200)}"
    if job.state == "running":
        told = f"{job.done:,} of {ui.counted(job.total, 'answer')}" if job.total else "Reading the prompts …"
        share = job.done / job.total if job.total else 0.0
        running_job.show(job, share, f"{name} · {told}", "evaluate_stop", me)
    elif job.state == "failed":
        ui.show_error(f"{job.prompt_set}: {', '.join(job.refs)}. {job.error}")
    else:
        words = "has ended" if job.state == "done" else "was stopped; start it again, and it goes on"
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(
                f":material/{'check' if job.state == 'done' else 'stop_circle'}: {name} {words}.", width="content"
            )
            result_link(job.run_id, "See the result", f"evaluate_result_{job.id}")


def result_link(run_id: str, label: str, key: str) -> None:
    """A button that opens the result of an evaluation. label: any text; it is escaped."""
    # A link to the page that is open changes what it shows and not the browser's address, which would be shared then.
    if st.button(short(label), icon=":material/bar_chart:", type="tertiary", key=key, width="content"):
        st.query_params["run"] = run_id
        st.rerun()
