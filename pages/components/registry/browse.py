"""The list of all versions, or of all models: found in the index, which is in memory, so that typing never waits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components.shared import ui
from pages.components.shared.escape import short
from pages.components.shared.waiting import patiently
from phi3core import tags
from phi3core.errors import Phi3Error
from phi3core.registry import reader
from phi3core.registry.index import Index, get_index
from phi3core.registry.models import Version
from phi3core.registry.search import SearchResult
from phi3core.store.client import find_abilities

from . import browse_tables

VERSIONS, MODELS = "Versions", "Models"
_ROWS = 50
_PATIENCE = 0.5  # seconds that a page waits for the first reading of a small store
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
_SORTS = {  # as the address says it too: label → what Index.search is told
    "Newest first": ("created", True),
    "Oldest first": ("created", False),
    "By name": ("name", False),
    "Largest first": ("size", True),
    "Smallest first": ("size", False),
    "By owner": ("owner", False),
}
_HIGHEST, _LOWEST = ", highest first", ", lowest first"


@dataclass(frozen=True)
class Asked:
    """What the widgets ask for. filters: by the name that `Index.search` and the address give them."""

    text: str
    view: str
    filters: dict[str, str]
    sort: str
    descending: bool


def show() -> None:
    """The whole page. Its state is in its address: it survives a reload, and Back from a version comes back to it."""
    found = kept()
    st.session_state["registry_shown"] = None
    _head(found)
    asked = _ask(found)
    if not found.ready:
        _filling(found)
        return
    if not found.filter_options.models:
        _nothing_yet()
        return
    if asked.view == MODELS:
        _models(found, asked)
    else:
        _versions(found, asked)


def kept() -> Index:
    """This process's index of the store, being kept fresh; a small store has been read by then."""
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
    asked, shown = st.session_state.get("registry_asked"), st.session_state.get("registry_shown")
    if asked and asked.view == VERSIONS and shown is not None:
        browse_tables.review_ask()
        if _to_show(found, asked) != shown:
            st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        total, models = found.search(per_page=1).total, len(found.filter_options.models)
        st.caption(f"{_count(total, 'version')} of {_count(models, 'model')}, read {_age(found)}.", width="content")
        if st.button("Refresh", icon=":material/refresh:", type="tertiary", key="registry_refresh"):
            try:
                patiently("Reading the registry …", found.refresh)
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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# ---------------------------------------------------------------- what is asked


def _ask(found: Index) -> Asked:
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
            st.button(
                label, icon=":material/close:", key="registry_all_models", on_click=_clear, help="Show all models"
            )
    if stage != _ANY_STAGE:
        filters["stage"] = stage
    by, descending = _sorted_by(sort)
    asked = Asked((text or "").strip(), view, filters, by, descending)
    _restart(asked)
    return asked


def _stages(found: Index) -> Sequence[str]:
    """Those that the store has: where aliases stand for them, nothing is archived. Asks it nothing."""
    if not found.ready or find_abilities(ui.config()).stages:
        return tags.STAGES
    return [stage for stage in tags.STAGES if stage != "Archived"]


def _more_filters(found: Index) -> dict[str, str]:
    """The filters that are wanted less often. What is in the address is kept, whether the index knows it or not."""
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
        st.button("Clear the filters", icon=":material/filter_list_off:", key="registry_clear", on_click=_clear)
    return filters


def _clear() -> None:
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


def _restart(asked: Asked) -> None:
    """Another question starts on its first page."""
    before = st.session_state.get("registry_asked")
    if before is not None and before != asked:
        st.session_state["page"] = 1
    st.session_state["registry_asked"] = asked


# ---------------------------------------------------------------- what is found


def _versions(found: Index, asked: Asked) -> None:
    hits = _hits(found, asked, _page())
    if hits.total:
        bar = _bar(hits.page, hits.page_count, hits.total, "version")
        browse_tables.versions(hits.versions, asked.sort, bar)
    else:
        _no_hits(asked)
    st.session_state["registry_shown"] = _to_show(found, asked)


def _to_show(found: Index, asked: Asked) -> tuple[object, ...]:
    """All that the list of versions is drawn from."""
    return _hits(found, asked, _page()).versions, browse_tables.review_known()


def _hits(found: Index, asked: Asked, page: int) -> SearchResult:
    by, descending = asked.sort, asked.descending
    if by not in found.filter_options.metrics and by not in [name for name, _ in _SORTS.values()]:
        by, descending = "created", True  # a metric that nothing has any more
    return found.search(asked.text, **asked.filters, sort=by, descending=descending, page=page, per_page=_ROWS)


def _models(found: Index, asked: Asked) -> None:
    hits = found.search(asked.text, **asked.filters, sort="name", descending=False, per_page=1_000_000)
    names = list(dict.fromkeys(version.name for version in hits.versions))
    if not asked.filters:  # a registered model that has no version has a name all the same
        words = asked.text.lower().split()
        empty = [name for name in found.models_without_versions if all(word in name.lower() for word in words)]
        names = sorted([*names, *empty], key=str.lower)
    if not names:
        _no_hits(asked)
        return
    pages = -(-len(names) // _ROWS)
    page = min(_page(), pages)
    _bar(page, pages, len(names), "model")
    shown = names[(page - 1) * _ROWS : page * _ROWS]
    browse_tables.models([(name, versions_of(found, name)) for name in shown])


def versions_of(found: Index, name: str) -> list[Version]:
    return list(found.search(model=name, sort="version", per_page=1_000_000).versions)


def _page() -> int:
    asked = str(st.session_state.get("page") or st.query_params.get("page") or 1)
    return int(asked) if asked.isdecimal() else 1


def _bar(page: int, pages: int, total: int, noun: str) -> DeltaGenerator:
    """The line above a table: which rows these are, and the other pages. Returns the place for what can be done."""
    with st.container(horizontal=True, vertical_alignment="center", key="registry_bar"):
        first = (page - 1) * _ROWS + 1
        rows = _count(total, noun) if pages == 1 else f"{first:,}–{min(first + _ROWS - 1, total):,} of {total:,}"
        st.caption(rows, width="content")
        place = st.container(horizontal=True, vertical_alignment="center", width="content")
        st.space("stretch")
        if pages > 1:
            st.pagination(pages, key="page", bind="query-params", width=330)
    return place


def _no_hits(asked: Asked) -> None:
    words = f"No version matches “{short(asked.text)}”" if asked.text else "No version matches"
    chosen = ", ".join(f"{name} {short(value)}" for name, value in asked.filters.items())
    st.info(f"{words}{f' with {chosen}' if chosen else ''}.", icon=":material/search_off:")
    st.button("Clear the filters", key="registry_clear_all", icon=":material/filter_list_off:", on_click=_clear)


def _nothing_yet() -> None:
    st.info("The registry is empty. Build a version first.", icon=":material/inventory_2:")
    st.page_link("pages/build_page.py", label="Build a version", icon=":material/construction:")


# ---------------------------------------------------------------- before the first reading


def _filling(found: Index) -> None:
    """The index has not read the store once: some models straight from the store, until it has."""
    _wait(found)
    with ui.told():
        first = patiently("Reading the first models …", reader.search_models, ui.config())
    listed = [(row.model.name, [row.version] if row.version else []) for row in first.summaries]
    if listed:
        st.caption(f"Until then, {_count(len(listed), 'model')}, with the version in Production or the newest one:")
        browse_tables.versions([version for _, versions in listed for version in versions], "created", None)
    else:
        st.skeleton(height=320)


@st.fragment(run_every=1.0)
def _wait(found: Index) -> None:
    if found.ready:
        st.rerun()
    if found.error:
        ui.show_error(found.error)
    else:
        st.info("The index is being filled: search and filters work when it is.", icon=":material/hourglass_top:")
