"""The tab with what a version is: its description, its tags, and where it comes from."""

from __future__ import annotations

import streamlit as st

from pages.components.registry import model_state, navigation, version_edit
from pages.components.shared import links, store_reads, ui
from pages.components.shared.escape import escape, short
from phi3core import tags
from phi3core.markdown import safe_markdown
from phi3core.registry import signature
from phi3core.registry.models import Version, VersionDetails
from phi3core.store.client import hide_password

_TAG_NAMES = {
    tags.SOURCE: "Source",
    tags.REVISION: "Revision",
    tags.PRECISION: "Precision",
    tags.LICENCE: "Licence",
    tags.ORIGIN_VERSION: "Copied from",
    tags.ORIGIN_STORE: "Copied from the store",
    tags.ORIGIN_USER: "Copied by",
    tags.ORIGIN_TIME: "Copied at",
}


def show(version: Version) -> None:
    if version.description:
        st.markdown(safe_markdown(version.description))
    else:
        st.caption("No description yet.")
    detail = None
    with ui.show_errors():
        detail = store_reads.detail(version)
        if detail.mlmodel_error:
            ui.show_warning(detail.mlmodel_error)
        else:
            st.markdown(escape(signature.describe_signature(detail.signature)))
    own = {key: value for key, value in sorted(version.tags.items()) if not key.startswith("phi3.")}
    if own:
        st.markdown(" ".join(f":gray-badge[{short(_tag(key, value))}]" for key, value in own.items()))
    rows = {"Wrapper": version.wrapper or "not one of ours"}
    rows |= {name: version.tags[key] for key, name in _TAG_NAMES.items() if version.tags.get(key)}
    rows |= {"Registered": f"{version.created:%Y-%m-%d %H:%M} UTC", "Logged model": version.source}
    ui.show_table(rows)
    with st.container(horizontal=True, vertical_alignment="center"):
        _edits(version)
        _trail(version, detail)


def _tag(key: str, value: str) -> str:
    return f"{key}: {value}" if value else key


def _edits(version: Version) -> None:
    if not version_edit.may():
        return
    if st.button("Edit the description", icon=":material/edit:", type="tertiary", key="version_describe"):
        model_state.prevent_redraw()
        version_edit.description(version)
    if st.button("Edit tags", icon=":material/sell:", type="tertiary", key="version_tags"):
        model_state.prevent_redraw()
        version_edit.tags(version)


def _trail(version: Version, detail: VersionDetails | None) -> None:
    """Where it comes from: the run that made it, and the version that it was copied from."""
    origin = version.tags.get(tags.ORIGIN_VERSION, "")
    address = ui.config().tracking_uri
    here = version.tags.get(tags.ORIGIN_STORE) == hide_password(address, address)
    if version.run_id and detail:
        links.run_link(detail.experiment_id, version.run_id)
    elif not version.run_id:
        st.caption("It was registered without a run.")
    if origin and here:
        name, _, number = origin.rpartition("/")
        query = {"model": name, "version": number}
        label = f"Copied from {short(origin)}"
        navigation.button(label, ":material/content_copy:", "version_origin", query)
