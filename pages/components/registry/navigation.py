"""From one view of the registry's page to another: a link to the page that is open would leave its address as it is."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

_PAGE = "pages/registry_page.py"


def button(label: str, icon: str, key: str, query: Mapping[str, str]) -> None:
    """A button that leads to a view of the registry, as a link would. label: Markdown."""
    if st.button(label, icon=icon, type="tertiary", key=key):
        go(query)


def go_next(query: Mapping[str, str]) -> None:
    """From a callback: the next run calls `go`."""
    st.session_state["registry_go"] = dict(query)


def follow() -> None:
    """Go where a callback asked to, before anything is drawn."""
    if query := st.session_state.pop("registry_go", None):
        go(query)


def go(query: Mapping[str, str]) -> None:
    st.switch_page(_PAGE, query_params=dict(query))
