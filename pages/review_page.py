"""Review: people judge the answers of an evaluation item by item, each on their own, and its owner closes it."""

import streamlit as st

from pages.components.review import judging, owner_view, preparing, review_list, start
from pages.components.shared import reads, ui
from phi3core.errors import NotFound
from phi3core.evaluation.reviews import review
from phi3core.evaluation.reviews.review import Review


def _in_address() -> Review | None:
    """The review that the address names; None where it names none that is there."""
    id = st.query_params.get("r", "")
    if not id:
        return None
    try:
        # A vote looks anew whether the review is open.
        return reads.read("Reading the review …", review.read_review, ui.config(), id, max_age=3)
    except NotFound as error:
        ui.show_warning(str(error))
        return None


me = ui.person()
st.title("Review", anchor=False)
with ui.stop_on_error():
    found = _in_address()
if found is None:
    preparing.show(me)
    review_list.show(me)
    start.show(me)
elif found.closed or (found.is_run_by(me) and st.query_params.get("view") == "results"):
    owner_view.show(found, me)
else:
    judging.show(found, me)
