"""Conversations: everything that was said, to find, open, rename, keep elsewhere, repeat or delete."""

import streamlit as st

from pages.components.chat import browser
from pages.components.conversations import conversation_list, import_dialog, list_filters, replay_view
from pages.components.shared import ui
from pages.components.shared.escape import escape
from phi3core.chat import history


@st.fragment(run_every=1.0 if history.count_pending(ui.config()) else None)
def _notices() -> None:
    """What waits for the store, drawn again and again.

    It never draws the whole page anew: that would close an open dialog, and take a press of a button with it.
    """
    if not (waiting := history.count_pending(ui.config())):
        return
    trouble = history.sending_error(ui.config())
    words = f"{ui.counted(waiting, 'change')} wait{'s' if waiting == 1 else ''} on this machine to be saved in MLflow"
    if trouble:
        ui.show_warning(f"{words}. {trouble}")
    else:
        st.caption(f":material/cloud_upload: {words}.")


st.title("Conversations", anchor=False)
if asked := st.query_params.get("replay", ""):
    st.caption("A conversation asked once more, beside what was answered before.")
    # No link: one to the page that is open leaves the address as it is, and a reload would come back here.
    if st.button("All conversations", icon=":material/arrow_back:", type="tertiary", key="conversations_back"):
        st.query_params.clear()
        st.rerun()
    replay_view.show(asked)
    st.stop()

st.caption("Everything that was said to a version: find it, go on with it, repeat it, take it elsewhere.")
if not ui.config().tracing:
    st.warning(
        "Conversations are not saved, because tracing is switched off (PHI3_TRACING=off): "
        "what is listed here is gone when the app ends.",
        icon=":material/warning:",
    )
else:
    _notices()
if result := st.session_state.pop("conversations_result", ""):
    st.success(escape(result), icon=":material/check_circle:")
if new := st.session_state.pop("conversations_made", None):
    import_dialog.show_made(*new)

with st.container(horizontal=True, vertical_alignment="bottom"):
    st.text_input(
        "Search", placeholder="Search titles, questions and answers", icon=":material/search:",
        key="conversations_search", label_visibility="collapsed",
    )  # fmt: skip
    wanted = list_filters.show()
    if st.button("Import", icon=":material/upload:", key="conversations_import"):
        st.session_state["conversations_imports"] = st.session_state.get("conversations_imports", 0) + 1
        import_dialog.show()

conversation_list.read_anew()
conversation_list.show(wanted)
browser.name_buttons({"conversations_menu_": "More about this conversation"})
