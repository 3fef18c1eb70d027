"""Going from one view of the registry's page to another: a link to the page that is open would leave its address."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

_PAGE = "pages/registry_page.py"


def button(label: str, icon: str, key: str, query: Mapping[str, str]) -> None:
    """A button that leads to a view of the registry, as a link would. label: Markdown."""
    if st.button(label, icon=icon, type="tertiary", key=key):
        to(query)


def note(query: Mapping[str, str]) -> None:
    """From a callback: the next run goes there."""
    st.session_state["registry_go"] = dict(query)


def on() -> None:
    """Go where a callback wanted to, before anything is drawn."""
    if query := st.session_state.pop("registry_go", None):
        to(query)


def to(query: Mapping[str, str]) -> None:
    st.switch_page(_PAGE, query_params=dict(query))
