"""Evaluate: versions answer the prompts of a set, scorers judge the answers, and versions are compared by them."""

import streamlit as st

from pages.components.evaluate import evaluation_list, progress, report, result_view, start
from pages.components.shared import reads, ui
from phi3core.errors import NotFound
from phi3core.evaluation import results

me = ui.person()
st.title("Evaluate", anchor=False)
if run_id := st.query_params.get("run", ""):
    with ui.stop_on_error():
        try:
            found = reads.read("Reading the answers …", results.read_evaluation, ui.config(), run_id, max_age=60)
        except NotFound as error:
            ui.show_warning(str(error))
        else:
            if st.query_params.get("report"):
                report.show(found)
            else:
                result_view.show(found)
            st.stop()
start.show(me)
progress.show(me)
evaluation_list.show(me)
