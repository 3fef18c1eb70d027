"""Where a version's figures come from, and Measure again: a job that takes them anew, followed on its page."""

from __future__ import annotations

import streamlit as st

from pages.components.build import build_card
from pages.components.shared import dialogs, reads, ui
from pages.components.shared.escape import escape
from phi3core import tags
from phi3core.build import jobs, measure_again
from phi3core.errors import Phi3Error
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.store.client import notify_change


def show(version: Version) -> None:
    """Below the figures: where they come from, and the button; while it is measured again, how far that is."""
    if run_id := st.session_state.get(_key(version)):
        _follow(version, run_id)
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
    st.session_state[_key(version)] = run_id
    st.rerun()


@st.fragment(run_every=1.0)
def _follow(version: Version, run_id: str) -> None:
    """The job's card until it has ended; then what came of it, and the page with the new figures."""
    with ui.show_errors():
        job = jobs.get(ui.config(), run_id)
        if job.running:
            build_card.show(job)
            return
        st.session_state.pop(_key(version), None)
        if job.status != "FINISHED":
            dialogs.set_result(f"{version.ref} was not measured again: {job.reason}", done=False)
        else:
            speed = reader.get_version(ui.config(), version.ref).metrics[tags.TOKENS_PER_SECOND]
            dialogs.set_result(f"{version.ref} was measured again: {speed:,.0f} tokens/s.")
            reads.invalidate()
            notify_change(ui.config(), version.name)
        st.rerun()


def _key(version: Version) -> str:
    return f"measuring_{version.ref}"
