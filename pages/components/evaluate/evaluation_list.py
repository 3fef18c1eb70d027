"""The evaluations in the store, each of which opens."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.evaluation import results
from phi3core.timestamps import from_ms

from .progress import result_link

_SHOWN = 30


def show() -> None:
    """Draw the newest ones."""
    st.subheader("Evaluations", anchor=False)
    with ui.stop_on_error():
        found = reads.read("Reading the evaluations …", results.search_evaluations, ui.config(), max_age=5)
    if not found:
        st.caption("None yet. Choose a prompt set and versions above; “everyday” takes a small model a minute or two.")
        return
    for one in found[:_SHOWN]:
        with st.container(horizontal=True, vertical_alignment="center"):
            result_link(one.run_id, f"{one.prompt_set.split('@')[0]}: {', '.join(one.refs)}", f"evaluate_{one.run_id}")
            state = "" if one.complete else " · :orange-badge[incomplete]"
            st.caption(f"{ui.counted(one.items, 'item')} · {short(one.by)} · {ui.ago(from_ms(one.when))}{state}")
    if len(found) > _SHOWN:
        st.caption(f"{len(found) - _SHOWN:,} older ones are listed by `phi3 evaluations`.")
