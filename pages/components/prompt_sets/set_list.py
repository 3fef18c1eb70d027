"""The prompt sets that are there, those that a person is editing, and the ways to make one."""

from __future__ import annotations

from pathlib import PurePath

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.errors import Phi3Error
from phi3core.evaluation import conversation_items, drafts, prompt_sets
from phi3core.evaluation.item_files import read_items
from phi3core.evaluation.prompt_sets import PromptSet
from phi3core.settings import Settings
from phi3core.timestamps import from_ms

from . import into_set


def show(me: Person) -> None:
    """Draw the list, and what makes a set."""
    st.caption(
        "What versions are asked, and what is expected of the answers. Every change makes a new version of a set, and "
        "evaluations name the version that they are of."
    )
    sets = reads.read("Reading the prompt sets …", prompt_sets.all_sets, ui.config(), max_age=5)
    for name in drafts.names(ui.config(), me):
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button(
                short(name), icon=":material/edit_note:", type="tertiary", key=f"sets_draft_{name}", width="content"
            ):
                go(draft=name)
            st.caption(":orange-badge[not saved yet] only you see it", width="content")
    for one in sets:
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button(
                short(one.name), icon=":material/list_alt:", type="tertiary", key=f"sets_{one.ref}", width="content"
            ):
                go(set=one.name)
            by = f"{short(one.by)} · {ui.ago(from_ms(one.when))}" if one.run_id else "ships with the product"
            st.caption(f"{ui.counted(one.size, 'item')} · {by}", width="content")
    if not me.may("reviewer"):
        st.caption("Making and changing sets needs the role reviewer.")
        return
    st.subheader("New", anchor=False)
    _new(me)
    with st.expander("From a file", icon=":material/upload_file:"):
        _import(me)
    if st.button(
        "From answers that got a thumb down", icon=":material/thumb_down:", key="sets_disliked", type="tertiary"
    ):
        words = "Reading the ratings …"
        into_set.show(reads.wait_for(words, conversation_items.disliked_items, ui.config(), me))
    st.caption("Conversations, answers in the chat and comparisons have the button “Into a prompt set”, too.")


def go(**query: str) -> None:
    """Draw the page anew under another address."""
    st.query_params.from_dict(query)
    st.rerun()


def _new(me: Person) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name of a new set", key="sets_new_name", max_chars=60)
        if st.button("Write one", icon=":material/add:", key="sets_new", disabled=not name.strip()):
            with ui.show_errors():
                draft = drafts.begin(ui.config(), me, name)
                go(draft=draft.name)


def _import(me: Person) -> None:
    st.caption(
        "CSV with a column “prompt” and columns named exact, contains, regex, number, json_schema, reference or "
        "criteria; JSON lines with “prompt” or “messages” and “expectations”; or OpenAI messages. Under the name of a "
        "set that is there the file becomes its newest version; earlier ones stay."
    )
    file = st.file_uploader("File", ["csv", "jsonl", "json"], key="sets_file")
    if isinstance(file, UploadedFile):
        name = st.text_input("Name", PurePath(file.name).stem, key=f"sets_name_{file.file_id}")
        if st.button("Save the set", icon=":material/save:", key="sets_save_file"):
            try:
                saved = reads.wait_for("Saving …", _save, ui.config(), name, file.name, file.getvalue(), me)
            except Phi3Error as error:
                ui.show_error(str(error))
            else:
                reads.invalidate()
                st.session_state["sets_result"] = f"{saved.ref} has {ui.counted(saved.size, 'item')}."
                go(set=saved.name)


def _save(settings: Settings, name: str, file: str, data: bytes, me: Person) -> PromptSet:
    return prompt_sets.save_set(settings, name, read_items(file, data), me)
