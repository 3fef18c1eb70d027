"""The dialog that deletes a version, or archives it instead."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import dialogs, reads, store_reads, ui
from pages.components.shared.escape import short
from phi3core.errors import Phi3Error
from phi3core.promotion.delete import delete_version, why_not_deleted
from phi3core.promotion.promote import promote
from phi3core.registry.models import Version

from . import plan_view


@st.dialog("Delete", icon=":material/delete:")
def show(version: Version, listed: list[Version]) -> None:
    """Say why it can't be deleted, or ask twice; offer to archive it instead. listed: all versions of the model."""
    try:
        listed = store_reads.versions(version.name)
        version = next((now for now in listed if now.version == version.version), version)
        words, requests = "Looking at the version …", store_reads.requests_of(version.name)
        refused = reads.wait_for(words, why_not_deleted, ui.config(), version, requests)
        archiving = plan_view.plan(version, "Archived", listed) if version.stage != "Archived" else None
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
    reason = dialogs.reason_input("delete_reason", version.ref)
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
            dialogs.run(lambda: _archive(version, reason), "delete_reason")


def _confirmed(version: Version, typed: str, reason: str) -> None:
    if typed.strip() != version.ref:
        ui.show_warning(f"Type {version.ref} above, so that it is not the wrong one.")
    elif not reason:
        ui.show_warning("Say why: the record keeps it when the version is gone.")
    else:
        dialogs.run(lambda: _delete(version, reason), "delete_reason")


def _delete(version: Version, reason: str) -> str:
    delete_version(ui.config(), version.ref, reason, ui.person())
    return f"{version.ref} is deleted."


def _archive(version: Version, reason: str) -> str:
    done = promote(ui.config(), version.ref, "Archived", reason, ui.person())
    return f"{done.version.ref} is archived."
