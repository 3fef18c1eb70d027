"""Registry: every model and version, what is known of one of them, and what differs between two."""

import streamlit as st

from pages.components.registry import browse, compare_view, navigation, version_view
from pages.components.shared import dialogs

navigation.on()
query = st.query_params
changed = "registry_said" in st.session_state  # by a dialog that has just closed
dialogs.show_said()
if "compare" in query or "with" in query:
    compare_view.show(query.get("compare", ""), query.get("with", ""))
elif query.get("model") and "version" in query:
    version_view.show(query["model"], query["version"], changed)
else:
    browse.show()
