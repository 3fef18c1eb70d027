"""The state of a registered model for a version's page: as it is last known while the store is being asked."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import short
from pages.components.shared.reads import Reading
from phi3core.errors import NotFound, Phi3Error
from phi3core.promotion.policy import requests
from phi3core.promotion.policy.request_status import Request
from phi3core.promotion.reconcile import Reconciliation, reconcile
from phi3core.registry.index import get_index
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import Abilities, find_abilities

_FRESH = 5.0  # seconds: every press of a button draws the page anew
_PATIENCE, _AFTER_A_CHANGE = 0.3, 3.0  # seconds that a page waits before it shows what was known before


@dataclass(frozen=True)
class ModelState:
    """What one reading of a model found. look: None where there is no such model."""

    look: Reconciliation | None
    abilities: Abilities
    requests: tuple[Request, ...] = ()
    """Those that wait, of all its versions."""


def read(name: str, changed: bool = False) -> Reading[ModelState]:
    """The model as it is now, with what the reading repaired. changed: by a dialog of this page that just closed."""
    return _latest(name, _AFTER_A_CHANGE if changed else _PATIENCE)


def _latest(name: str, patience: float) -> Reading[ModelState]:
    return reads.latest(_reconcile, ui.config(), name, max_age=_FRESH, patience=patience)


def _reconcile(config: Settings, name: str) -> ModelState:
    able = find_abilities(config)
    try:
        look = reconcile(config, name)
    except NotFound:
        return ModelState(None, able)
    waiting: tuple[Request, ...] = ()
    with contextlib.suppress(Phi3Error):  # the look itself says what is wrong with the records
        waiting = tuple(r for r in requests.of_model(config, name) if r.is_waiting)
    return ModelState(look, able, waiting)


def indexed_versions(name: str) -> list[Version]:
    """The model's versions as the index knows them, newest first."""
    return list(get_index(ui.config()).search(model=name, sort="version", per_page=10_000).versions)


def allow_redraw(name: str, asked: str, changed: bool) -> None:
    """Let a version's page draw itself anew, at its start, only while nothing can have been opened on it.

    That is when the visitor has just come to it, when a dialog has just closed with a change that the store may take
    longer to tell than the page waits, or when it has just drawn itself anew.
    """
    view = (name, asked)
    arrived = st.session_state.get("registry_view") != view
    st.session_state["registry_view"] = view
    st.session_state["registry_may_redraw"] = st.session_state.pop("registry_redrawn", False) or arrived or changed


def prevent_redraw() -> None:
    """Called when a dialog is opened without the page being drawn: drawing it would close the dialog."""
    st.session_state["registry_may_redraw"] = False


def follow(name: str, reading: Reading[ModelState]) -> None:
    """Say that the store is still being asked, or why it does not answer; draw the page anew once it differs."""
    at_work = reading.value is not None and reading.value.look is not None and reading.value.look.in_flight
    if reading.error or reading.pending or at_work:
        live_part.draw(_follow, name, reading.value, every=1.0)


def _follow(by_itself: bool, name: str, shown: ModelState | None) -> None:
    reading = _latest(name, 0.0)
    news = not reading.pending and not reading.error and _differs(name, shown, reading.value)
    if by_itself and news and st.session_state.get("registry_may_redraw"):
        st.session_state["registry_redrawn"] = True
        st.rerun()
    if reading.error:
        ui.show_error(reading.error)
    elif reading.pending:
        st.caption(f":material/sync: Asking the store about {short(name)} …")
    elif news:
        st.caption(":material/sync: There is news of this version: the next press of a button shows it.")


def _differs(name: str, shown: ModelState | None, now: ModelState | None) -> bool:
    """Whether a page that was drawn from this, or from the index where there was none yet, would look different now."""
    if shown is not None or now is None or now.look is None:
        return shown != now
    look = now.look
    more = (
        look.messages
        or look.in_flight
        or look.mismatches
        or look.damage
        or now.requests
        or now.abilities != Abilities()
    )
    return bool(more) or list(look.versions) != indexed_versions(name)


def production(listed: Sequence[Version]) -> Version | None:
    """The version in Production."""
    return next((version for version in listed if version.stage == "Production"), None)
