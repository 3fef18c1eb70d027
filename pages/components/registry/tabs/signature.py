"""The tab with what a version takes and gives, and with the parameters of its run."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import store_reads, ui
from pages.components.shared.escape import escape
from phi3core.registry import signature
from phi3core.registry.models import Version


def show(version: Version) -> None:
    with ui.show_errors():
        detail = store_reads.detail(version)
        if detail.mlmodel_error:
            ui.show_warning(detail.mlmodel_error)
            return
        st.markdown(escape(signature.describe_signature(detail.signature)))
        parts = (("Inputs", "inputs", signature.describe_column), ("Outputs", "outputs", signature.describe_column))
        for title, part, words in (*parts, ("Options", "params", signature.describe_param)):
            if columns := detail.signature.get(part):
                st.markdown(f"**{title}**\n" + "\n".join(f"- {escape(words(column))}" for column in columns))
        if detail.options:
            st.markdown("**Generation options it was logged with**")
            ui.show_table({name: str(value) for name, value in sorted(detail.options.items())})
        st.markdown("**Parameters of its run**")
        if detail.parameters:
            ui.show_table(dict(sorted(detail.parameters.items())))
        else:
            st.caption("The source run recorded none.")
