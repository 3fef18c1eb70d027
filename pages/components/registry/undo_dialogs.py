"""The dialogs that take something back: the rollback to the previous Production, and the deletion of a version."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import dialogs, known, ui
from pages.components.shared.escape import short
from pages.components.shared.waiting import patiently
from phi3core.errors import Phi3Error
from phi3core.promotion.delete import delete_version, why_not_deleted
from phi3core.promotion.policy import vetting
from phi3core.promotion.promote import previous_version, promote, rollback
from phi3core.registry.models import Version

from . import plan_view


@st.dialog("Roll back", icon=":material/undo:")
def rollback_dialog(model: str, listed: list[Version]) -> None:
    """To the version that was in Production before, as the record tells. listed: all versions of the model."""
    try:
        listed = ui.versions(model) or listed
        former = patiently("Reading the record …", previous_version, ui.config(), model)
        if former is None:
            st.info(
                f"The record of {short(model)} tells of no earlier Production that is still there. "
                "Move a version to Production instead."
            )
            return
        st.markdown(f"**{short(former.ref)}** was in {ui.stage_badge('Production')} before")
        lines = plan_view.show(plan_view.of(former, "Production", listed))
        changed = patiently("Looking at the files …", vetting.looks_changed, ui.config(), former)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    if changed:
        ui.show_warning(changed)
    reason = dialogs.reason("rollback_reason", former.ref, placeholder="What is wrong with the present one")
    # Offered unasked too: where the files are elsewhere, only the rollback itself reads them.
    override = ui.person().may("admin") and st.checkbox(
        "Even if its files have changed since", key="rollback_override", help="Recorded as an override, for your reason"
    )  # fmt: skip
    label = f"Roll back to {short(former.ref)}"
    pressed = st.button(label, type="primary", key="rollback_confirm", width="stretch")
    if dialogs.still_true("rollback_shown", former.ref, lines, pressed):
        if not reason:
            ui.show_warning("Say why: whoever looks at the record later asks.")
            return
        dialogs.do(lambda: _rollback(model, reason, override), "rollback_reason")


def _rollback(model: str, reason: str, override: bool) -> str:
    done = rollback(ui.config(), model, reason, ui.person(), override=override)
    return f"{done.version.ref} is in Production again.{plan_view.left(done)}"


@st.dialog("Delete", icon=":material/delete:")
def delete_dialog(version: Version, listed: list[Version]) -> None:
    """Refused with the reason, or asked twice; archiving it instead is offered."""
    try:
        listed = ui.versions(version.name)
        version = next((now for now in listed if now.version == version.version), version)
        refused = patiently("Looking at the version …", _why_not, version)
        archiving = plan_view.of(version, "Archived", listed) if version.stage != "Archived" else None
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    if refused:
        ui.show_error(refused)
    else:
        dialogs.bullets(
            [
                f"**{short(version.ref)}** is gone from the registry for good, and nobody can load it by that name.",
                "Its run, its files and its conversations stay in MLflow. Its record stays, and tells who deleted it.",
            ]
        )
    reason = dialogs.reason("delete_reason", version.ref)
    if not refused:
        typed = st.text_input(f"Type {short(version.ref)} to delete it", key="delete_typed", autocomplete="off")
        if st.button("Delete for good", icon=":material/delete:", key="delete_confirm", width="stretch"):
            _confirmed(version, typed, reason)
    if archiving is not None:
        st.caption("Or archive it: it leaves its stage, stays loadable by its number, and can come back.")
        if refused:
            plan_view.show(archiving)
        if st.button(
            "Archive instead", icon=":material/archive:", type="primary", key="delete_archive", width="stretch"
        ):
            dialogs.do(lambda: _archive(version, reason), "delete_reason")


def _why_not(version: Version) -> str:
    return why_not_deleted(ui.config(), version, known.asked_for(version.name))


def _confirmed(version: Version, typed: str, reason: str) -> None:
    if typed.strip() != version.ref:
        ui.show_warning(f"Type {version.ref} above, so that it is not the wrong one.")
    elif not reason:
        ui.show_warning("Say why: the record keeps it when the version is gone.")
    else:
        dialogs.do(lambda: _delete(version, reason), "delete_reason")


def _delete(version: Version, reason: str) -> str:
    delete_version(ui.config(), version.ref, reason, ui.person())
    return f"{version.ref} is deleted."


def _archive(version: Version, reason: str) -> str:
    done = promote(ui.config(), version.ref, "Archived", reason, ui.person())
    return f"{done.version.ref} is archived."
