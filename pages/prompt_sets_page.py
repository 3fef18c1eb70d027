"""Prompt sets: what versions are asked in evaluations and reviews, made, edited and kept in versions."""

import streamlit as st

from pages.components.prompt_sets import draft_editor, set_list, set_view
from pages.components.shared import reads, ui
from pages.components.shared.escape import escape
from phi3core.errors import NotFound
from phi3core.evaluation import drafts, prompt_sets

me = ui.person()
st.title("Prompt sets", anchor=False)
if result := st.session_state.pop("sets_result", ""):
    st.success(escape(result), icon=":material/check_circle:")
if error := st.session_state.pop("sets_error", ""):
    ui.show_warning(error)
ref = st.query_params.get("set", "")
with ui.stop_on_error():
    if (name := st.query_params.get("draft", "")) and (draft := drafts.read(ui.config(), me, name)):
        draft_editor.show(draft, me)
        st.stop()
    if ref:
        try:
            found, items = reads.read("Reading the prompts …", prompt_sets.read_set, ui.config(), ref, max_age=60)
        except NotFound as error:
            ui.show_warning(str(error))
        else:
            set_view.show(found, items, me)
            st.stop()
    set_list.show(me)
