"""Who is compared: versions, by their number, stage or alias, and endpoints."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.registry.list_view import started_index
from pages.components.shared import ui
from phi3core.endpoints.config import Endpoint, load_endpoints
from phi3core.errors import Phi3Error, StoreDown
from phi3core.evaluation.comparison import MOST
from phi3core.registry.models import Version

KEY = "compare_with"
"""Of the box, and of the references in the page's address."""
_LISTED = 500  # the newest versions; any other reference can be written in


def suggested(versions: Sequence[Version]) -> list[str]:
    """Two versions of one model to compare: the one in Production with the newest other one, else the two newest.

    Args:
        versions: of any models, newest first.
    """
    ordered = sorted(versions, key=lambda version: version.stage != "Production")  # stable: newest first in each part
    for first in ordered:
        other = next((v for v in versions if v.name == first.name and v.version != first.version), None)
        if other is not None:
            return [first.ref, other.ref]
    return []


def listed() -> Sequence[Version]:
    """The newest versions, which a box offers; any other reference can be written in.

    Raises StoreDown where none is known.
    """
    index = started_index()
    versions = index.search(sort="created", per_page=_LISTED).versions
    if index.error and not versions:
        raise StoreDown(index.error)
    return versions


def choose() -> list[str]:
    """Draw the box, and return the references that are chosen. Raises StoreDown where no version is known."""
    versions = listed()
    labels = {version.ref: _label(version) for version in versions}
    labels |= {ref: f"☁ {endpoint.name}" for ref, endpoint in _endpoints().items()}
    linked = st.query_params.get_all("with")
    if linked and st.session_state.get("compare_linked") != linked:  # once: what is chosen later counts
        st.session_state["compare_linked"], st.session_state[KEY] = linked, linked[:MOST]
    elif not st.session_state.get(KEY) and st.session_state.get("compare_suggested") is None:
        st.session_state[KEY] = suggested(versions)
    st.session_state["compare_suggested"] = True
    chosen = st.session_state.get(KEY) or []
    return st.multiselect(
        "Versions", list(dict.fromkeys([*chosen, *labels])), key=KEY, max_selections=MOST, accept_new_options=True,
        format_func=lambda ref: labels.get(ref, ref), placeholder="Two to four; name/3, name@alias or name/Production",
    )  # fmt: skip


def _label(version: Version) -> str:
    stage = "" if version.stage == "None" else f" · {version.stage}"
    about = f"{version.wrapper} {version.precision}".strip()
    return f"{version.ref}{f' · {about}' if about else ''}{stage}"


def _endpoints() -> dict[str, Endpoint]:
    try:
        return {endpoint.ref: endpoint for endpoint in load_endpoints(ui.config())}
    except Phi3Error:  # the page Chat tells what is wrong in the secrets file
        return {}
