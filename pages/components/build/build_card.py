"""A job as it is drawn: its steps, its end, its log."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import links, ui
from pages.components.shared.escape import as_code, escape, short
from phi3core.build import job_files, jobs
from phi3core.build.job import Job, Step
from phi3core.build.steps import STEP_TITLES
from phi3core.errors import Phi3Error

_STATUS = {
    "RUNNING": (":blue[:material/progress_activity:]", "running, started"),
    "SCHEDULED": (":blue[:material/schedule:]", "waiting, since"),
    "FINISHED": (":green[:material/check_circle:]", "built"),
    "FAILED": (":red[:material/error:]", "failed"),
    "KILLED": (":gray[:material/cancel:]", "cancelled"),
}
_DONE_WITH = {
    "measure": "measured again",
    "parity": "held against what it was made from, or another version",
    "environment": "tried in the environment that it declares",
}
_STEP_ICONS = {
    "waiting": ":gray[:material/radio_button_unchecked:]",
    "running": ":blue[:material/progress_activity:]",
    "done": ":green[:material/check_circle:]",
    "failed": ":red[:material/error:]",
}


def show(job: Job) -> None:
    """One job, whatever its state."""
    icon, word = status(job)
    with st.container(border=True, key=f"build_{job.run_id}"):
        st.markdown(f"{icon} {line(job)} :gray[· {word} {ui.ago(job.started)}]")
        if job.running:
            for step in job.steps:
                _show_step(step)
            if ui.person().may("releaser"):
                st.button(
                    "Cancel",
                    icon=":material/stop_circle:",
                    key=f"cancel_{job.run_id}",
                    on_click=_cancel,
                    args=(job.run_id,),
                )
        elif job.status == "FINISHED":
            _show_links(job)
        elif job.status == "FAILED":
            ui.show_error(job.reason or "It ended without a reason.")
        else:
            st.caption(f"{escape(job.reason)} Nothing was {'recorded' if job.about else 'registered'}.")
        if not job.running:
            _show_more(job)


def status(job: Job) -> tuple[str, str]:
    """An icon, as Markdown, and the word that stands before when it began."""
    icon, word = _STATUS[job.status]
    return icon, "done" if job.about and job.status == "FINISHED" else word


def line(job: Job) -> str:
    """Markdown: what is built from what. The run's parameters are escaped: they may come from outside."""
    if job.about:
        return f"**{short(job.about)}** {ui.wrapper(job.spec.wrapper)} {_DONE_WITH.get(job.kind, short(job.kind))}"
    name, source = short(job.ref or job.spec.name), as_code(job.spec.source)
    return f"**{name}** {ui.wrapper(job.spec.wrapper)} from {source}"


def _show_step(step: Step) -> None:
    line = f"{_STEP_ICONS[step.state]} {STEP_TITLES[step.name]}"
    if step.state == "done" and step.seconds is not None:
        line += f" :gray[· {step.seconds:.1f} s]"
    if step.state == "running" and step.text:
        line += f" :gray[· {short(step.text, 200)}]"
    st.markdown(line)
    if step.state == "running" and step.fraction is not None:
        st.progress(step.fraction)


def _show_links(job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        query = {"model": job.spec.name, "version": str(job.version)}
        st.page_link("pages/registry_page.py", label=short(job.ref), icon=":material/inventory_2:", query_params=query)
        st.page_link("pages/chat_page.py", label="Chat with it", icon=":material/chat:", query_params={"ref": job.ref})
        links.run_link(job.experiment_id, job.run_id)


def _show_more(job: Job) -> None:
    with st.expander("Steps and log", icon=":material/list_alt:"):
        for step in job.steps:
            _show_step(step)
        path = job_files.log_path(ui.config(), job.run_id)
        text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
        if text:
            st.code(_tail(text), language=None, height=240)
        else:
            st.caption("There is no log on this machine; the run's artifacts may hold one.")


def _tail(text: str) -> str:
    """The end of a log, with progress bars (which redraw their line) cut to their last state."""
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    return "\n".join(lines[-200:])


def _cancel(run_id: str) -> None:
    try:
        jobs.cancel(ui.config(), run_id, ui.person())
    except Phi3Error as error:
        st.toast(escape(str(error)), icon=":material/info:")
