"""A part of a page that draws itself again and again, and may find that all of the page is out of date."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import streamlit as st


def draw(part: Callable[..., None], *arguments: object, every: float | None) -> None:
    """Draw a part now, with the page, and then by itself.

    Args:
        part: draws it. Its first argument says whether it runs by itself, and only then may it have the page drawn
            anew (`st.rerun`): in the page's own run, what was pressed further down would be lost.
        arguments: the others.
        every: seconds from one run by itself to the next; None for none, but when something in it is pressed.
    """
    drawn = False

    @wraps(part)  # Streamlit tells the parts of a container from each other by their names
    def run() -> None:
        nonlocal drawn
        by_itself, drawn = drawn, True
        part(by_itself, *arguments)

    st.fragment(run, run_every=every)()
