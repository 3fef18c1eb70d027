"""The search, the filters and the sorting of the list of versions; their state stands in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from pages.components.shared import ui
from pages.components.shared.escape import short
from phi3core import tags
from phi3core.registry.index import Index
from phi3core.store.client import find_abilities

VERSIONS, MODELS = "Versions", "Models"
_ANY_STAGE = "Any stage"
_FILTERS = {
    "alias": "Alias",
    "wrapper": "Wrapper",
    "source": "Source",
    "tag": "Tag",
    "owner": "Owner",
}
_HELP = {
    "source": "A part of where the weights came from.",
    "tag": "A tag's name, or name=value.",
    "alias": "Without the @.",
}
_SORTS = {  # label, which stands in the address too → the arguments of Index.search
    "Newest first": ("created", True),
    "Oldest first": ("created", False),
    "By name": ("name", False),
    "Largest first": ("size", True),
    "Smallest first": ("size", False),
    "By owner": ("owner", False),
}
FIELDS = frozenset(name for name, _ in _SORTS.values())
"""What is sorted by besides metrics."""
_HIGHEST, _LOWEST = ", highest first", ", lowest first"


@dataclass(frozen=True)
class Query:
    """What the widgets ask for. filters: by the name that `Index.search` and the address give them."""

    text: str
    view: str
    filters: dict[str, str]
    sort: str
    descending: bool


def show(found: Index) -> Query:
    """Draw the widgets, and return what they ask for."""
    view = st.session_state.get("list") or VERSIONS
    with st.container(horizontal=True, vertical_alignment="bottom", key="registry_filters"):
        text = st.text_input(
            "Search", key="q", bind="query-params", placeholder="Search names, descriptions, tags, owners",
            icon=":material/search:", label_visibility="collapsed", live=True,
        )  # fmt: skip
        stage = st.selectbox(
            "Stage", [_ANY_STAGE, *_stages(found)], key="stage", bind="query-params", width=150,
            label_visibility="collapsed",
        )  # fmt: skip
        sort = st.selectbox(
            "Sort", _sorts(found), key="sort", bind="query-params", width=190,
            label_visibility="collapsed", disabled=view == MODELS,
        )  # fmt: skip
        filters = _more_filters(found)
        if model := st.query_params.get("model", ""):  # no widget's: a version's page has it in its address too
            filters["model"] = model
            label = f"Only {short(model, 40)}"
            st.button(label, icon=":material/close:", key="registry_all_models", on_click=clear, help="Show all models")
    if stage != _ANY_STAGE:
        filters["stage"] = stage
    by, descending = _sorted_by(sort)
    query = Query((text or "").strip(), view, filters, by, descending)
    _restart(query)
    return query


def _stages(found: Index) -> Sequence[str]:
    """Those that the store has: where aliases stand for them, nothing is archived. Asks it nothing."""
    if not found.ready or find_abilities(ui.config()).stages:
        return tags.STAGES
    return [stage for stage in tags.STAGES if stage != "Archived"]


def _more_filters(found: Index) -> dict[str, str]:
    """The filters in the popover. What is in the address is kept, whether the index knows it or not."""
    chosen = {name: value for name in _FILTERS if (value := st.session_state.get(name) or st.query_params.get(name))}
    label = f"Filters · {len(chosen)}" if chosen else "Filters"
    choices = found.filter_options
    known: dict[str, Sequence[str]] = {
        "alias": choices.aliases, "wrapper": choices.wrappers,
        "source": choices.sources, "tag": choices.tags, "owner": choices.owners,
    }  # fmt: skip
    filters: dict[str, str] = {}
    with st.popover(label, icon=":material/filter_list:", key="registry_more_filters"):
        for name, title in _FILTERS.items():
            value = st.selectbox(
                title, known[name], index=None, key=name, bind="query-params", accept_new_options=True,
                placeholder="Any", help=_HELP.get(name),
            )  # fmt: skip
            if value:
                filters[name] = value.removeprefix("@") if name == "alias" else value
        st.button("Clear the filters", icon=":material/filter_list_off:", key="registry_clear", on_click=clear)
    return filters


def clear() -> None:
    """A callback: show everything."""
    for name in _FILTERS:
        st.session_state[name] = None
    st.session_state["q"], st.session_state["stage"] = "", _ANY_STAGE
    if "model" in st.query_params:
        del st.query_params["model"]


def _sorts(found: Index) -> list[str]:
    """The ways to sort: fixed ones, then by each metric."""
    metrics = [metric + way for metric in found.filter_options.metrics for way in (_HIGHEST, _LOWEST)]
    asked = st.query_params.get("sort", "")
    unread = [asked] if asked.endswith((_HIGHEST, _LOWEST)) and not found.ready else []
    return [*_SORTS, *metrics, *unread]


def _sorted_by(sort: str) -> tuple[str, bool]:
    if sort in _SORTS:
        return _SORTS[sort]
    return sort.removesuffix(_HIGHEST).removesuffix(_LOWEST), sort.endswith(_HIGHEST)


def _restart(query: Query) -> None:
    """Another query starts on its first page."""
    before = st.session_state.get("registry_query")
    if before is not None and before != query:
        st.session_state["page"] = 1
    st.session_state["registry_query"] = query
