"""An evaluation on one page, to be printed or saved as a PDF by the browser."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import ui
from phi3core.evaluation.results import Evaluation

from . import answer_grid, result_view

_MOST = 200
# The page scrolls within the window, of which a printer would get the first sheet.
_PRINT = """<style>
@media print {
  [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stToolbar"], .st-key-evaluate_report_head {
    display: none !important;
  }
  html, body, .stApp, [data-testid="stAppViewContainer"], [data-testid="stMain"], [data-testid="stMainBlockContainer"] {
    position: static !important; overflow: visible !important; height: auto !important;
  }
  [data-testid="stVerticalBlock"] > div { break-inside: avoid-page; }
}
</style>"""


def show(found: Evaluation) -> None:
    """Draw it, without anything to press once it is printed."""
    st.html(_PRINT)
    with st.container(horizontal=True, key="evaluate_report_head"):
        if st.button("Back to the result", icon=":material/arrow_back:", type="tertiary", key="evaluate_report_back"):
            del st.query_params["report"]
            st.rerun()
        st.caption(":material/print: Print this page, or save it as a PDF, with your browser (Ctrl+P).")
    result_view.head(found)
    for other in found.run.refs[1:]:
        result_view.differences(found, found.run.refs[0], other, buttons=False)
    items = found.items
    answer_grid.rows(found, items[:_MOST])
    if len(items) > _MOST:
        st.caption(f"The first {_MOST} of {ui.counted(len(items), 'item')}; the CSV file has all.")
