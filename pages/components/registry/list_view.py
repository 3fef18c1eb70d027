"""The list of all versions, or of all models: found in the index, which is in memory, so that typing never waits."""

from __future__ import annotations

import time

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import short
from phi3core.errors import Phi3Error
from phi3core.registry import reader
from phi3core.registry.index import Index, get_index
from phi3core.registry.models import Version
from phi3core.registry.search import SearchResult

from . import list_filters, list_tables, review_state
from .list_filters import MODELS, VERSIONS, Query

_ROWS = 50
_PATIENCE = 0.5  # seconds that a page waits for the first reading of a small store


def show() -> None:
    """The whole page. Its state is in its address: it survives a reload, and Back from a version comes back to it."""
    found = started_index()
    st.session_state["registry_shown"] = None
    _head(found)
    query = list_filters.show(found)
    if not found.ready:
        _filling(found)
        return
    if not found.filter_options.models:
        _nothing_yet()
        return
    if query.view == MODELS:
        _models(found, query)
    else:
        _versions(found, query)


def started_index() -> Index:
    """This process's index of the store, being kept fresh. A small store has been read by then."""
    found = get_index(ui.config())
    found.start()  # the app server has, unless the page runs without it
    begun = time.monotonic()
    while not found.ready and not found.error and time.monotonic() - begun < _PATIENCE:
        time.sleep(0.02)
    return found


def _head(found: Index) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title("Registry", width="stretch", anchor=False)
        st.segmented_control(
            "List", [VERSIONS, MODELS], default=VERSIONS, required=True, key="list", bind="query-params",
            label_visibility="collapsed",
        )  # fmt: skip
    if found.ready:
        _freshness(found)
    else:
        st.caption("Every registered model and its versions; exactly one of them can be in Production.")


@st.fragment(run_every=5)
def _freshness(found: Index) -> None:
    """How much there is, how old the copy is, and a way to have it read now. Draws the list anew when it changed."""
    query, shown = st.session_state.get("registry_query"), st.session_state.get("registry_shown")
    if query and query.view == VERSIONS and shown is not None:
        review_state.refresh()
        rows = _hits(found, query, _page()).versions
        if (rows, review_state.known()) != shown:
            st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        total, models = found.search(per_page=1).total, len(found.filter_options.models)
        st.caption(
            f"{ui.counted(total, 'version')} of {ui.counted(models, 'model')}, read {_age(found)}.", width="content"
        )
        if st.button("Refresh", icon=":material/refresh:", type="tertiary", key="registry_refresh"):
            try:
                reads.wait_for("Reading the registry …", found.refresh)
            except Phi3Error:
                found.refresh_soon()  # it says why, below, and tries again
            st.rerun()
    if found.error:
        ui.show_warning(f"{found.error} What is shown was read {_age(found)}.")


def _age(found: Index) -> str:
    seconds = found.age.total_seconds() if found.age else 0
    if seconds < 5:
        return "just now"
    if seconds < 90:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} minutes ago" if seconds < 5400 else f"{seconds / 3600:.0f} hours ago"


# ---------------------------------------------------------------- what is found


def _versions(found: Index, query: Query) -> None:
    hits = _hits(found, query, _page())
    if hits.total:
        bar = _bar(hits.page, hits.page_count, hits.total, "version")
        review = review_state.to_draw()
        list_tables.versions(hits.versions, review, query.sort, bar)
    else:
        review = review_state.known()
        _no_hits(query)
    st.session_state["registry_shown"] = hits.versions, review


def _hits(found: Index, query: Query, page: int) -> SearchResult:
    by, descending = query.sort, query.descending
    if by not in found.filter_options.metrics and by not in list_filters.FIELDS:
        by, descending = "created", True  # a metric that nothing has any more
    return found.search(query.text, **query.filters, sort=by, descending=descending, page=page, per_page=_ROWS)


def _models(found: Index, query: Query) -> None:
    hits = found.search(query.text, **query.filters, sort="name", descending=False, page=1, per_page=1_000_000)
    names = list(dict.fromkeys(version.name for version in hits.versions))
    if not query.filters:  # a registered model that has no version has a name all the same
        words = query.text.lower().split()
        empty = [name for name in found.models_without_versions if all(word in name.lower() for word in words)]
        names = sorted([*names, *empty], key=str.lower)
    if not names:
        _no_hits(query)
        return
    pages = -(-len(names) // _ROWS)
    page = min(_page(), pages)
    _bar(page, pages, len(names), "model")
    shown = names[(page - 1) * _ROWS : page * _ROWS]
    list_tables.models([(name, _versions_of(found, name)) for name in shown])


def _versions_of(found: Index, name: str) -> list[Version]:
    return list(found.search(model=name, sort="version", per_page=1_000_000).versions)


def _page() -> int:
    number = str(st.session_state.get("page") or st.query_params.get("page") or 1)
    return int(number) if number.isdecimal() else 1


def _bar(page: int, pages: int, total: int, noun: str) -> DeltaGenerator:
    """The line above a table: which rows these are, and the other pages. Returns the place for buttons."""
    with st.container(horizontal=True, vertical_alignment="center", key="registry_bar"):
        first = (page - 1) * _ROWS + 1
        rows = ui.counted(total, noun) if pages == 1 else f"{first:,}–{min(first + _ROWS - 1, total):,} of {total:,}"
        st.caption(rows, width="content")
        place = st.container(horizontal=True, vertical_alignment="center", width="content")
        st.space("stretch")
        if pages > 1:
            st.pagination(pages, key="page", bind="query-params", width=330)
    return place


def _no_hits(query: Query) -> None:
    words = f"No version matches “{short(query.text)}”" if query.text else "No version matches"
    chosen = ", ".join(f"{name} {short(value)}" for name, value in query.filters.items())
    st.info(f"{words}{f' with {chosen}' if chosen else ''}.", icon=":material/search_off:")
    st.button(
        "Clear the filters", key="registry_clear_all", icon=":material/filter_list_off:", on_click=list_filters.clear
    )


def _nothing_yet() -> None:
    st.info("The registry is empty. Build a version first.", icon=":material/inventory_2:")
    st.page_link("pages/build_page.py", label="Build a version", icon=":material/construction:")


# ---------------------------------------------------------------- before the first reading


def _filling(found: Index) -> None:
    """Until the index has read the store once: some models straight from the store."""
    live_part.draw(_wait, found, every=1.0)
    with ui.stop_on_error():
        first = reads.wait_for("Reading the first models …", reader.search_models, ui.config())
    listed = [(row.model.name, [row.version] if row.version else []) for row in first.summaries]
    if listed:
        st.caption(f"Until then, {ui.counted(len(listed), 'model')}, with the version in Production or the newest one:")
        versions = [version for _, versions in listed for version in versions]
        list_tables.versions(versions, review_state.to_draw(), "created", None)
    else:
        st.skeleton(height=320)


def _wait(by_itself: bool, found: Index) -> None:
    if by_itself and found.ready:
        st.rerun()
    if found.error:
        ui.show_error(found.error)
    else:
        st.info("The index is being filled: search and filters work when it is.", icon=":material/hourglass_top:")
