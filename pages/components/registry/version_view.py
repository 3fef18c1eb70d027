"""A version's page: what it is, what can be done with it, and under tabs everything that is known of it.

Its head comes from one reading of the model, which also repairs what was changed from outside. While a slow store is
asked, what the index knows is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from pages.components.promotions import record_state, request_dialogs, requests_list
from pages.components.shared import ui
from pages.components.shared.escape import escape, short
from pages.components.shared.reads import Reading
from phi3core import tags
from phi3core.clean_text import one_line
from phi3core.promotion.reconcile import Reconciliation
from phi3core.registry.models import Version
from phi3core.store.client import Abilities
from phi3core.text import plural

from . import (
    adopt_dialog,
    aliases_dialog,
    code_view,
    copy_dialog,
    delete_dialog,
    measuring,
    model_state,
    move_dialog,
    navigation,
    rollback_dialog,
)
from .model_state import ModelState
from .tabs import benchmarks, files, metrics, overview, parity, record, reviews, signature, usage

_MEASURED = "The newest measurement: the build’s, or one since."
_TABS = ("Overview", "Signature", "Metrics", "Parity", "Benchmarks", "Files", "Reviews", "Record", "Use it")
_COPY, _DELETE, _ROLL_BACK = "Copy to …", "Delete …", "Roll back Production …"
_ICONS = {_COPY: "content_copy", _DELETE: "delete", _ROLL_BACK: "undo"}


def show(name: str, asked: str, changed: bool) -> None:
    """The page of the version that the address asks for, or why there is none. changed: by a dialog of this page."""
    model_state.allow_redraw(name, asked, changed)
    reading = model_state.read(name, changed)
    state = reading.value
    look = state.look if state else None
    listed = list(look.versions) if look else [] if state else model_state.indexed_versions(name)
    version = next((v for v in listed if str(v.version) == asked), None)
    _crumbs(name, len(listed))
    if version is None:
        _not_there(name, asked, reading, listed)
        return
    st.title(short(version.ref), anchor=False)
    _line(version)
    model_state.follow(name, reading)
    if look:
        _show_findings(look)
        adopt_dialog.offer(listed, state.abilities if state else Abilities())
    if state:
        _show_lacks(state.abilities)
    _buttons(version, listed, state.abilities if state else Abilities())
    code_view.show(version)
    if state and (mine := [r for r in state.requests if r.version == version.version]):
        requests_list.show(mine)
    _figures(version, listed)
    measuring.show(version)
    _tabs(version, listed)


def _crumbs(name: str, count: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        navigation.button("Registry", ":material/inventory_2:", "version_all", {})
        label = f"{short(name)} · {count} {plural(count, 'version')}" if count else short(name)
        navigation.button(label, ":material/list:", "version_siblings", {"model": name})


def _not_there(name: str, asked: str, reading: Reading[ModelState], listed: Sequence[Version]) -> None:
    st.title(short(name), anchor=False)
    model_state.follow(name, reading)
    if reading.value is None:  # nothing is known of it yet
        if not reading.error:
            st.skeleton(height=320)
        return
    if not listed and reading.value.look is not None:
        st.info(f"{short(name)} has no version yet.", icon=":material/inventory_2:")
        st.page_link("pages/build_page.py", label="Build a version", icon=":material/construction:")
        return
    if not listed:
        ui.show_warning(
            f"There is no registered model “{one_line(name, 80)}”. It was deleted, or the address is wrong."
        )
        return
    ui.show_warning(
        f"{one_line(name, 80)} has no version {one_line(asked, 80)}. It was deleted, or the address is wrong."
    )
    newest = listed[0]
    query = {"model": name, "version": str(newest.version)}
    label = f"The newest, {short(newest.ref)}"
    navigation.button(label, ":material/arrow_forward:", "version_newest", query)


def _line(version: Version) -> None:
    badges = " ".join(part for part in (ui.version_stage(version), ui.alias_badges(version)) if part)
    st.markdown(f"{badges} :gray[·] {ui.wrapper(version.wrapper)}")
    facts = [
        f"by {short(version.owner)}" if version.owner not in ("", "unknown") else "",
        f"registered {ui.ago(version.created)}",
    ]
    facts += [short(version.precision), short(version.tags.get(tags.LICENCE, ""))]
    facts += ["" if version.status in ("", "READY") else f"not ready ({short(version.status)})"]
    st.caption(" · ".join(fact for fact in facts if fact))


def _show_findings(look: Reconciliation) -> None:
    """What this reading repaired or found, the promotions under way, and what is wrong with the record."""
    if look.messages:
        st.info(escape(" ".join(look.messages)), icon=":material/build:")
    for running in look.in_flight:
        since = ui.ago(running.started)
        st.info(f"{short(running.user)} is at work: {short(running.says)}, since {since}.", icon=":material/sync:")
    if look.mismatches:
        repair = "The alias decides: move a version to its stage, and the stages follow."
        ui.show_warning(f"{' '.join(look.mismatches)} {repair}")
    if look.damage:
        record_state.damage(look.damage)


def _show_lacks(able: Abilities) -> None:
    if not able.stages:
        st.caption(":material/info: This store has no stages: the aliases @production and @staging stand for them.")
    if not able.aliases:
        words = "This store has no aliases: stages alone say what is in Production, and MLflow lets several be."
        st.caption(f":material/info: {words}")


def _buttons(version: Version, listed: list[Version], able: Abilities) -> None:
    person = ui.person()
    with st.container(horizontal=True, vertical_alignment="center", key="version_buttons"):
        if st.button("Chat", icon=":material/chat:", type="primary", key="registry_chat"):
            st.switch_page("pages/chat_page.py", query_params={"ref": version.ref})
        if person.may("releaser"):
            if st.button("Move to a stage", icon=":material/verified:", key="registry_move"):
                move_dialog.show(version, listed)
            if able.aliases and st.button("Aliases", icon=":material/alternate_email:", key="registry_aliases"):
                aliases_dialog.show(version, listed)
        may_ask = person.may("reviewer") and version.stage != "Production"
        if may_ask and st.button("Ask for a promotion", icon=":material/front_hand:", key="registry_ask"):
            request_dialogs.ask_dialog(version, listed)
        if st.button("Compare", icon=":material/compare_arrows:", key="registry_compare"):
            navigation.go(_against(version, listed))
        options = [_COPY, *([_ROLL_BACK] if version.stage == "Production" else [])] if person.may("releaser") else []
        options += [_DELETE] if person.may("admin") else []
        if options:
            chosen = st.menu_button(
                "More", options, icon=":material/more_horiz:", key="registry_more",
                format_func=lambda option: f":material/{_ICONS[option]}: {option}",
            )  # fmt: skip
            _do(chosen, version, listed)


def _do(chosen: str | None, version: Version, listed: list[Version]) -> None:
    if chosen == _COPY:
        copy_dialog.show(version)
    elif chosen == _ROLL_BACK:
        rollback_dialog.show(version.name, listed)
    elif chosen == _DELETE:
        delete_dialog.show(version, listed)


def _against(version: Version, listed: Sequence[Version]) -> dict[str, str]:
    """What it is compared with first: the version in Production, else the one before it."""
    others = [other for other in listed if other.version != version.version]
    before = next((other for other in others if other.version < version.version), others[0] if others else version)
    other = model_state.production(others) or before
    return {"compare": other.ref, "with": version.ref}


def _figures(version: Version, listed: Sequence[Version]) -> None:
    """Four figures; where another version is in Production, how they differ from its."""
    other = model_state.production([v for v in listed if v.version != version.version])
    speed, first = tags.TOKENS_PER_SECOND, tags.FIRST_TOKEN_MS
    with st.container(horizontal=True, gap="large"):
        shown: dict[str, tuple[str, str | None, Literal["normal", "inverse"]]] = {
            "Speed": (_number(version, speed, "tokens/s"), _delta(version, other, speed, "tokens/s"), "normal"),
            "First token": (_number(version, first, "ms"), _delta(version, other, first, "ms"), "inverse"),
        }
        for label, (value, delta, color) in shown.items():
            hint = _MEASURED + (f" Below: against {short(other.ref)}, in Production." if delta and other else "")
            st.metric(label, value, delta, delta_color=color, width="content", help=hint)
        st.metric("Memory", ui.size(version.metrics.get(tags.PEAK_MEMORY)), width="content")
        st.metric("Size", ui.size(version.size), width="content")


def _number(version: Version, metric: str, unit: str) -> str:
    value = version.metrics.get(metric)
    if value is None:
        return "–"
    return ui.speed(value) if metric == tags.TOKENS_PER_SECOND else f"{value:,.0f} {unit}"


def _delta(version: Version, other: Version | None, metric: str, unit: str) -> str | None:
    if other is None or metric not in version.metrics or metric not in other.metrics:
        return None
    change = round(version.metrics[metric] - other.metrics[metric])
    return f"{change:+,} {unit}" if change else None


@st.fragment
def _tabs(version: Version, listed: list[Version]) -> None:
    """Only the open one is read; a switch draws nothing else anew."""
    tabs = dict(zip(_TABS, st.tabs(_TABS, key="tab", bind="query-params")))
    parts = {
        "Overview": lambda: overview.show(version),
        "Signature": lambda: signature.show(version),
        "Metrics": lambda: metrics.show(version, listed),
        "Parity": lambda: parity.show(version, listed),
        "Benchmarks": lambda: benchmarks.show(version),
        "Files": lambda: files.show(version),
        "Reviews": lambda: reviews.show(version, model_state.production(listed)),
        "Record": lambda: record.show(version),
        "Use it": lambda: usage.show(version),
    }
    for name, tab in tabs.items():
        if tab.open:
            with tab:
                parts[name]()
