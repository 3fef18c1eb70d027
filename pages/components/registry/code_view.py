"""What a version's page says of its code: whether it runs somebody's, who trusts it, and what it runs in."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import dialogs, live_part, reads, ui
from pages.components.shared.escape import short
from phi3core.errors import Phi3Error
from phi3core.promotion import code_trust
from phi3core.promotion.code_trust import CodeState
from phi3core.registry.models import Version

_FRESH, _PATIENCE = 10.0, 0.3  # seconds: how old a reading may be, and how long the page waits for a newer one


def show(version: Version) -> None:
    """A line on each that a reader has to know, and an admin's button; nothing for a version of our own in its cell."""
    reading = _read(version.ref, _PATIENCE)
    if reading.pending or reading.value is None:
        live_part.draw(_follow, version.ref, reading.value, every=1.0)
    if (state := reading.value) is None:
        return
    if state.no_cell:
        st.caption(f":orange[:material/lock_open:] Models run without a cell on this machine: {state.no_cell}.")
    if state.network:
        st.caption(":material/lan: This model may use the network: the secrets file says so.")
    if state.needed:
        _show_trust(version, state)


def _read(ref: str, patience: float) -> reads.Reading[CodeState]:
    return reads.latest(code_trust.read_code_state, ui.config(), ref, max_age=_FRESH, patience=patience)


def _follow(by_itself: bool, ref: str, drawn: CodeState | None) -> None:
    """Draw the page anew once more is known than it says."""
    if by_itself and _read(ref, 0.0).value != drawn:
        st.rerun()


def _show_trust(version: Version, state: CodeState) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if state.trusted:
            who, when = short(state.trusted.user), ui.ago(state.trusted.started)
            st.caption(f":material/verified_user: It runs code of its own, which {who} trusted {when}.")
        else:
            st.warning(
                "It runs code that this app did not write. It is not opened until an admin has trusted its files as "
                "they are.",
                icon=":material/gpp_maybe:",
            )
        if not ui.person().may("admin"):
            return
        if state.trusted:
            if st.button("Trust it no more", type="tertiary", key="version_distrust"):
                _change(version, trusted=False)
        elif st.button("Trust its code", icon=":material/verified_user:", key="version_trust"):
            _change(version, trusted=True)


def _change(version: Version, trusted: bool) -> None:
    act = code_trust.trust if trusted else code_trust.distrust
    try:
        with st.spinner("Reading its files …"):
            act(ui.config(), version.ref, "", ui.person())
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    dialogs.set_result(f"The code of {version.ref} " + ("may run." if trusted else "runs no more."))
    reads.invalidate()
    st.rerun()
