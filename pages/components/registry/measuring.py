"""Where a version's figures come from, and Measure again: a job that takes them anew, followed on its page."""

from __future__ import annotations

import streamlit as st

from pages.components.build import build_card
from pages.components.shared import dialogs, live_part, reads, ui
from pages.components.shared.escape import escape
from phi3core import tags
from phi3core.build import jobs, measure_again
from phi3core.errors import Phi3Error
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.store.client import notify_change

_FRESH = 5.0  # seconds for which it is taken that no other session has started one


def settle(ref: str) -> None:
    """Before a version's page is drawn: where a measurement that it has shown has ended, what came of it is said."""
    if not (run_id := st.session_state.get(_key(ref))):
        return
    with ui.show_errors():
        job = jobs.get(ui.config(), run_id)
        if job.running:
            return
        st.session_state.pop(_key(ref))
        if job.status != "FINISHED":
            dialogs.set_result(f"{ref} was not measured again: {job.reason}", done=False)
            return
        version = reader.get_version(ui.config(), ref)
        dialogs.set_result(f"{ref} was measured again: {ui.speed(version.metrics[tags.TOKENS_PER_SECOND])}.")
        reads.invalidate()
        notify_change(ui.config(), version.name)


def show(version: Version) -> None:
    """Below the figures: where they come from, and the button; while it is measured again, how far that is.

    That is shown whoever started it, and wherever.
    """
    if run_id := st.session_state.get(_key(version.ref)) or _under_way(version):
        st.session_state[_key(version.ref)] = run_id
        live_part.draw(_follow, run_id, every=1.0)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if said := _origin(version):
            st.caption(said)
        reason = measure_again.why_not(version)
        hint = reason or "Takes the figures anew on the machine that runs this app, as soon as it is idle."
        if ui.person().may("releaser") and st.button(
            "Measure again", icon=":material/speed:", type="tertiary", key="version_measure", disabled=bool(reason),
            help=escape(hint),
        ):  # fmt: skip
            _start(version)


def _under_way(version: Version) -> str:
    """The run id of a job that measures it, as far as it is known in a moment; else empty."""
    asked = (ui.config(), version.ref, version.run_id, "measure")
    return reads.latest(jobs.find_running, *asked, max_age=_FRESH).value or ""


def _origin(version: Version) -> str:
    """Markdown: where the figures come from; empty where there are none."""
    if tags.TOKENS_PER_SECOND not in version.metrics:
        return ""
    if version.measured and version.measured.busy:
        sentence = "Other programs were at work: it is faster than that. Measure it again when they are not."
        return f":orange[:material/warning:] Measured {ui.measured(version)}. {sentence}"
    unknown = "" if version.measured else "; on which machine was not recorded"
    return f"Measured {ui.measured(version)}{unknown}."


def _start(version: Version) -> None:
    try:
        with st.spinner("Starting …"):
            run_id = jobs.start_measuring(ui.config(), version.ref, ui.person())
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    st.session_state[_key(version.ref)] = run_id
    st.rerun()


def _follow(by_itself: bool, run_id: str) -> None:
    """The job's card; once it has ended, the page with the new figures."""
    with ui.show_errors():
        job = jobs.get(ui.config(), run_id)
        if by_itself and not job.running:
            st.rerun()
        build_card.show(job)


def _key(ref: str) -> str:
    return f"measuring_{ref}"
