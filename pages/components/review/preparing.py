"""Reviews whose prompt set is being answered: they are made once all answers are there."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import live_part, reads, running_job, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.evaluation import jobs
from phi3core.evaluation.jobs import EvaluationJob


def show(me: Person) -> None:
    """Draw them, again every second while one is under way."""
    running = any(job.state == "running" for job in _listed())
    live_part.draw(_jobs, me, running, every=1.0 if running else None)


def _listed() -> list[EvaluationJob]:
    return [job for job in jobs.recent() if job.purpose]


def _jobs(by_itself: bool, me: Person, running: bool) -> None:
    listed = _listed()
    for job in listed:
        name = f"{short(job.purpose, 100)} · {short(job.prompt_set)}"
        if job.state == "running":
            told = f"{job.done:,} of {ui.counted(job.total, 'answer')}" if job.total else "Reading the prompts …"
            share = job.done / job.total if job.total else 0.0
            running_job.show(job, share, f"{name} · {told}", "review_stop", me)
        elif job.state == "failed":
            ui.show_error(f"{job.purpose} {job.error}")
        elif job.state == "stopped":
            st.caption(f":material/stop_circle: {name} was stopped; make it again, and it goes on.")
    if by_itself and running and not any(job.state == "running" for job in listed):
        reads.invalidate()  # the list below has one more
        st.rerun()
