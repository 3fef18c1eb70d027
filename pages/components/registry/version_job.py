"""A job that does something with a version: the button that starts it, how far it is, and why it failed.

That is shown whoever started it, and wherever.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pages.components.build import build_card
from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import escape
from phi3core.build import jobs
from phi3core.errors import Phi3Error
from phi3core.registry.models import Version
from phi3core.store.client import notify_change

_FRESH = 5.0  # seconds for which it is taken that no other session has started one


def show(version: Version, kind: str, label: str, hint: str, refusal: str, start: Callable[[], str]) -> None:
    """The button, or the card of the job while it runs.

    Args:
        kind: of the job (`phi3core.build.job.Job`).
        refusal: why it can't be done, as a sentence; empty where it can.
        start: starts it and returns its run id.
    """
    key = f"{kind}_{version.ref}"
    if failed := st.session_state.get(f"{key}_failed"):
        ui.show_error(failed)
    asked = (ui.config(), version.ref, version.run_id, kind)
    known = st.session_state.get(key) or reads.latest(jobs.find_running, *asked, max_age=_FRESH).value
    if known:
        st.session_state[key] = known
        live_part.draw(_follow, version, key, known, every=1.0)
        return
    if not ui.person().may("releaser"):
        return
    if st.button(label, icon=":material/play_arrow:", key=key + "_start", disabled=bool(refusal), help=escape(hint)):
        st.session_state.pop(f"{key}_failed", None)
        try:
            with st.spinner("Starting …"):
                st.session_state[key] = start()
        except Phi3Error as error:
            ui.show_error(str(error))
            return
        st.rerun()
    if refusal:
        st.caption(escape(refusal))


def _follow(by_itself: bool, version: Version, key: str, run_id: str) -> None:
    """The job's card; once it has ended, the page with what came of it."""
    with ui.show_errors():
        job = jobs.get(ui.config(), run_id)
        if not job.running and st.session_state.get(key) == run_id:
            st.session_state.pop(key)
            if job.status != "FINISHED":
                st.session_state[f"{key}_failed"] = job.reason or "It ended without a reason."
            reads.invalidate()
            notify_change(ui.config(), version.name)
            if by_itself:
                st.rerun()
        build_card.show(job)
