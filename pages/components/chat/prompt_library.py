"""Saved prompts: one is chosen, filled in and put into a box of the page; or what stands there is saved."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.chat import prompts
from phi3core.chat.prompts import SavedPrompt
from phi3core.errors import Phi3Error
from phi3core.timestamps import from_ms

_USE, _SAVE = "Use", "Save"


def insert(key: str, label: str = "Prompts") -> None:
    """A button that opens the saved prompts. key: of session_state, where the chosen text is put."""
    if st.button(label, icon=":material/library_books:", key=f"prompts_open_{key}", type="tertiary"):
        _begin(key)
        _library(key)


@st.dialog("Prompts", icon=":material/library_books:", width="medium")
def _library(key: str) -> None:
    # What a press of a button wants in another box: only here, before the box is drawn, can it be put there.
    st.session_state.update(st.session_state.pop("prompts_next", {}))
    try:
        found = reads.wait_for("Reading the prompts …", prompts.search_prompts, ui.config())
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    listed = {prompt.name: prompt for prompt in found}
    may = ui.person().may("reviewer")
    modes = [_USE, _SAVE] if may else [_USE]
    mode = st.segmented_control("Mode", modes, required=True, label_visibility="collapsed", key="prompts_mode")
    if result := st.session_state.pop("prompts_result", ""):
        st.success(result, icon=":material/check_circle:")
    if mode == _SAVE:
        _save(listed)
    elif listed:
        _use(key, listed)
    else:
        more = " Write one under “Save”." if may else ""
        st.info(f"There are no saved prompts yet.{more}", icon=":material/library_books:")


def _begin(key: str) -> None:
    """Each time it is opened it starts anew, with the present text ready to be saved."""
    for name in [str(name) for name in st.session_state]:
        if name.startswith("prompts_") and not name.startswith("prompts_open_"):
            del st.session_state[name]
    text = st.session_state.get(key) or ""
    st.session_state["prompts_next"] = {"prompts_mode": _USE, "prompts_text": text if isinstance(text, str) else ""}


# ---------------------------------------------------------------- using one


def _use(key: str, listed: dict[str, SavedPrompt]) -> None:
    if st.session_state.get("prompts_name") not in listed:
        st.session_state["prompts_name"] = next(iter(listed))
    left, right = st.columns([3, 1])
    name = left.selectbox("Prompt", list(listed), key="prompts_name")
    newest = listed[name]
    # Newest first; numbers may be missing, so they are read where there is more than one.
    number = right.selectbox("Version", _numbers(newest), key=f"prompts_version_{name}_{newest.version}")
    try:
        prompt = newest if number == newest.version else prompts.load(ui.config(), name, number)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    _about(prompt)
    missing, filled = _filled(prompt)
    st.caption("Preview")
    st.code(filled, language=None, wrap_lines=True, height=220 if len(filled) > 400 else "content")
    with st.container(horizontal=True):
        why = f"Fill in {', '.join(short(name) for name in missing)} first." if missing else None
        if st.button(
            "Insert", type="primary", icon=":material/input:", key="prompts_insert", disabled=bool(missing), help=why,
            on_click=_put, args=(key, filled),
        ):  # fmt: skip
            st.rerun()
        if not ui.person().may("reviewer"):
            return
        if st.button("Edit", icon=":material/edit:", key="prompts_edit", help="Makes a new version of it."):
            _go_on(prompts_mode=_SAVE, prompts_save_name=name, prompts_text=prompt.text, prompts_note=prompt.note)
        with st.popover("Delete", icon=":material/delete:", type="tertiary"):
            st.markdown(f"**{short(name)}** goes for good, with all its versions (the newest is {newest.version}).")
            if st.button("Delete it", type="primary", key="prompts_delete", width="stretch"):
                _delete(name)


def _numbers(newest: SavedPrompt) -> list[int]:
    if newest.version == 1:
        return [1]
    try:
        return [prompt.version for prompt in prompts.list_versions(ui.config(), newest.name)]
    except Phi3Error:
        return [newest.version]  # they are read at the next draw; the newest is here


def _about(prompt: SavedPrompt) -> None:
    facts = [ui.ago(from_ms(prompt.when))]
    facts += [f"by {short(prompt.user, 40)}"] if prompt.user else []
    facts += [short(prompt.note, 300)] if prompt.note else []
    st.caption(" · ".join(facts))


def _filled(prompt: SavedPrompt) -> tuple[list[str], str]:
    """The variables that have no value yet, and the text with those that have one."""
    values = {
        variable: st.text_area(short(variable), key=f"prompts_value_{prompt.name}_{variable}", height=68)
        for variable in prompt.variables
    }
    missing = [variable for variable, value in values.items() if not value.strip()]
    return missing, prompts.fill_variables(
        prompt.text, values | {variable: f"{{{{{variable}}}}}" for variable in missing}
    )


def _put(key: str, text: str) -> None:
    st.session_state[key] = text


def _delete(name: str) -> None:
    try:
        reads.wait_for("Deleting …", prompts.delete, ui.config(), name, ui.person())
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    _go_on(prompts_result=f"{short(name)} is deleted.")


# ---------------------------------------------------------------- saving one


def _save(listed: dict[str, SavedPrompt]) -> None:
    with st.form("prompts_form", border=False, enter_to_submit=False):
        name = st.text_input("Name", placeholder="summarise", key="prompts_save_name").strip()
        text = st.text_area(
            "Text", key="prompts_text", height=180, placeholder="Summarise this in {{count}} sentences: {{text}}",
            help="Names in {{double braces}} are asked for when the prompt is used.",
        )  # fmt: skip
        note = st.text_input("Note", placeholder="what it is for", key="prompts_note")
        pressed = st.form_submit_button("Save", type="primary", icon=":material/save:", key="prompts_save")
    if not pressed:
        st.caption("A name that is there already gets a new version; the older ones stay.")
        return
    try:
        saved = reads.wait_for("Saving …", prompts.save, ui.config(), name, text, note, ui.person())
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    before = listed.get(saved.name)
    same = before is not None and before.version == saved.version
    what = "is saved already, word for word" if same else f"is saved as version {saved.version}"
    _go_on(prompts_mode=_USE, prompts_name=saved.name, prompts_result=f"{short(saved.name)} {what}.")


def _go_on(**state: str) -> None:
    """Draw the dialog anew, with these in its boxes."""
    st.session_state["prompts_next"] = state
    _again()


def _again() -> None:
    st.rerun(scope="fragment")
