"""Ways between the parts of the page Review, by its address."""

from __future__ import annotations

import streamlit as st

from pages.components.shared.escape import short
from phi3core.evaluation.reviews.review import Review

# A link to the page that is open changes what it shows and not the browser's address, which would be shared then.


def open_review(review: Review, view: str = "") -> None:
    """Have the page show a review. view: ``results`` for how it stands, "" for its queue."""
    st.query_params.from_dict({"r": review.id} | ({"view": view} if view else {}))


def open_list() -> None:
    """Have the page show all reviews."""
    st.query_params.clear()


def button(
    label: str, review: Review, key: str, view: str = "", icon: str | None = None, primary: bool = False
) -> None:
    """A button that opens a review. label: any text; it is escaped."""
    st.button(
        short(label), key=key, icon=icon, type="primary" if primary else "secondary", on_click=open_review,
        args=(review, view),
    )  # fmt: skip
