"""The dialog that puts items into a prompt set, from any page that shows something worth asking again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import escape, short
from phi3core.errors import Phi3Error
from phi3core.evaluation import prompt_sets
from phi3core.evaluation.items import Item

LABEL, ICON = "Into a prompt set", ":material/playlist_add:"
_LISTED = 3


@st.dialog(LABEL, icon=ICON)
def show(items: Sequence[Item]) -> None:
    """Ask for the set, and add the items to it; what is there already is left out."""
    if not items:
        st.info("There is nothing here that a prompt set can hold.", icon=":material/info:")
        return
    for item in items[:_LISTED]:
        st.markdown(f"- {short(item.prompt, 120)}")
    if len(items) > _LISTED:
        st.caption(f"and {ui.counted(len(items) - _LISTED, 'more item')}")
    with ui.stop_on_error():
        known = reads.read("Reading the prompt sets …", prompt_sets.search_sets, ui.config(), max_age=5)
    name = st.selectbox(
        "Set", [one.name for one in known], index=None, key="into_set_name", accept_new_options=True,
        placeholder="Choose a set, or write a new name", help="A set gets a new version; its earlier ones stay.",
    )  # fmt: skip
    if any("reference" in item.expectations for item in items) and not st.toggle(
        "With the answers as references", False, key="into_set_reference",
        help="Later answers are compared with them. Only where the answers are good.",
    ):  # fmt: skip
        items = [replace(item, expectations=_without(item, "reference")) for item in items]
    me = ui.person()
    if not st.button(
        "Add", type="primary", key="into_set_add", width="stretch", disabled=not (name and me.may("reviewer")),
        help=None if me.may("reviewer") else "Saving a prompt set needs the role reviewer.",
    ):  # fmt: skip
        return
    try:
        saved, added = reads.wait_for("Saving …", prompt_sets.add_items, ui.config(), name, items, me)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    reads.invalidate()
    there = len(items) - added
    left = f", {there:,} {'was' if there == 1 else 'were'} there already" if there else ""
    st.toast(f"{short(saved.ref)}: {escape(ui.counted(added, 'item'))} added{left}.", icon=":material/check:")
    st.rerun()


def _without(item: Item, name: str) -> dict[str, object]:
    return {other: value for other, value in item.expectations.items() if other != name}
