"""Editing what may be edited of a version: its description and its tags."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.components.shared import dialogs, ui
from pages.components.shared.escape import from_table, in_table, short
from phi3core.promotion import edit
from phi3core.registry.models import Version

_OURS = "phi3."


def may() -> bool:
    return ui.person().may("releaser")


@st.dialog("Description", icon=":material/edit:", width="medium")
def description(version: Version) -> None:
    st.markdown(f"What **{short(version.ref)}** is, in Markdown. Whoever opens it reads it.")
    text = st.text_area(
        "Description", version.description, key=f"edit_description_{version.ref}", height=180, max_chars=5000,
        label_visibility="collapsed",
    )  # fmt: skip
    changed = (text or "").strip() != version.description.strip()
    why = dialogs.reason_input("edit_description_reason", version.ref)
    if st.button("Save", type="primary", disabled=not changed, key="edit_description_save", width="stretch"):
        dialogs.run(lambda: _describe(version, (text or "").strip(), why), "edit_description_reason")


def _describe(version: Version, text: str, why: str) -> str:
    edit.set_description(ui.config(), version.ref, text, ui.person(), why)
    return f"The description of {version.ref} is saved."


@st.dialog("Tags", icon=":material/sell:", width="medium")
def tags(version: Version) -> None:
    st.markdown(
        f"Tags of **{short(version.ref)}**: change a value, add a row, or select rows to remove them. "
        "What the build wrote (phi3.…) is evidence, and stays. Tags that a policy asks for are an admin's to change."
    )
    own = {key: value for key, value in sorted(version.tags.items()) if not key.startswith(_OURS)}
    cells = {"Tag": map(in_table, own), "Value": map(in_table, own.values())}
    table = pd.DataFrame({name: list(texts) for name, texts in cells.items()}, dtype="string")
    edited = st.data_editor(
        table, num_rows="dynamic", hide_index=True, width="stretch", key=f"edit_tags_{version.ref}",
        column_config={"Tag": st.column_config.TextColumn(required=True), "Value": st.column_config.TextColumn()},
    )  # fmt: skip
    wanted, wrong = read(edited)
    if wrong:
        ui.show_warning(wrong)
    changed = wanted != own
    why = dialogs.reason_input("edit_tags_reason", version.ref)
    if st.button("Save", type="primary", disabled=bool(wrong) or not changed, key="edit_tags_save", width="stretch"):
        dialogs.run(lambda: _tag(version, own, wanted, why), "edit_tags_reason")


def read(edited: pd.DataFrame) -> tuple[dict[str, str], str]:
    """The tags of an edited table, and a sentence where they can't be saved like that."""
    wanted: dict[str, str] = {}
    for name, value in zip(edited["Tag"], edited["Value"]):
        key = "" if pd.isna(name) else from_table(str(name)).strip()
        if not key:
            continue
        if key.startswith(_OURS):
            return wanted, f"{key} can't be set by hand: phi3.… is what the build wrote."
        if key in wanted:
            return wanted, f"There are two tags named {key}. Remove one."
        wanted[key] = "" if pd.isna(value) else from_table(str(value)).strip()
    return wanted, ""


def _tag(version: Version, own: dict[str, str], wanted: dict[str, str], why: str) -> str:
    for key in own.keys() - wanted.keys():
        edit.delete_tag(ui.config(), version.ref, key, ui.person(), why)
    for key, value in wanted.items():
        if own.get(key) != value:
            edit.set_tag(ui.config(), version.ref, key, value, ui.person(), why)
    return f"The tags of {version.ref} are saved."
