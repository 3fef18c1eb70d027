"""The dialog that rolls Production back to the version that was there before."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import dialogs, reads, store_reads, ui
from pages.components.shared.escape import short
from phi3core.errors import Phi3Error
from phi3core.promotion.rollback import previous_version, rollback, why_refused
from phi3core.registry.models import Version

from . import plan_view


@st.dialog("Roll back", icon=":material/undo:")
def show(model: str, listed: list[Version]) -> None:
    """Back to the version that was in Production before, by the record. listed: all versions of the model."""
    try:
        listed = store_reads.versions(model) or listed
        former = reads.wait_for("Reading the record …", previous_version, ui.config(), model)
        if former is None:
            st.info(
                f"The record of {short(model)} tells of no earlier Production that is still there. "
                "Move a version to Production instead."
            )
            return
        st.markdown(f"**{short(former.ref)}** was in {ui.stage_badge('Production')} before")
        plan = plan_view.plan(former, "Production", listed)
        lines = plan_view.show(plan, plan_view.breaks(plan))
        changed = reads.wait_for("Looking at the files …", why_refused, ui.config(), former)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    if changed:
        ui.show_warning(changed)
    reason = dialogs.reason_input("rollback_reason", former.ref, placeholder="What is wrong with the present one")
    # Offered unasked too: where the files are elsewhere, only the rollback itself reads them.
    override = ui.person().may("admin") and st.checkbox(
        "Even if its files have changed since", key="rollback_override", help="Recorded as an override, for your reason"
    )  # fmt: skip
    label = f"Roll back to {short(former.ref)}"
    pressed = st.button(label, type="primary", key="rollback_confirm", width="stretch")
    if dialogs.still_as_shown("rollback_shown", former.ref, lines, pressed):
        if not reason:
            ui.show_warning("Say why: whoever looks at the record later asks.")
            return
        dialogs.run(lambda: _rollback(model, reason, override), "rollback_reason")


def _rollback(model: str, reason: str, override: bool) -> str:
    done = rollback(ui.config(), model, reason, ui.person(), override=override)
    return f"{done.version.ref} is in Production again.{plan_view.replaced_sentence(done)}"
