"""Registry: every model and version, what is known of one of them, and what differs between two."""

import streamlit as st

from pages.components.registry import compare_view, list_view, measuring, navigation, version_view
from pages.components.shared import dialogs

navigation.follow()
query = st.query_params
if query.get("model") and query.get("version"):
    measuring.settle(f"{query['model']}/{query['version']}")
changed = dialogs.show_result()  # of a dialog that has just closed
if "compare" in query or "with" in query:
    compare_view.show(query.get("compare", ""), query.get("with", ""))
elif query.get("model") and "version" in query:
    version_view.show(query["model"], query["version"], changed)
else:
    list_view.show()
