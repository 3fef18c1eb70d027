"""The tab with the record of what was done to a version."""

from __future__ import annotations

import streamlit as st

from pages.components.promotions import record_list
from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.promotion.record import search
from phi3core.registry.models import Version
from phi3core.settings import Settings


def show(version: Version) -> None:
    with ui.show_errors():
        page = reads.wait_for("Reading the record …", _records, ui.config(), version)
        if page.records:
            record_list.show(page.records, "version_record")
        else:
            st.caption("Nothing was done to it yet: no promotion, no alias, no request.")
        query = {"model": version.name}
        label = f"The whole record of {short(version.name)}"
        st.page_link("pages/promotions_page.py", label=label, icon=":material/history:", query_params=query)


def _records(config: Settings, version: Version) -> search.Page:
    return search.page(config, model=version.name, version=version.version, limit=50)
