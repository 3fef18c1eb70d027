"""What the registry's pages show of a model while the store is being asked: what is known, and why it is not newer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from phi3core.errors import NotFound, Phi3Error
from phi3core.promotion.policy import requests
from phi3core.promotion.policy.requests import Request
from phi3core.promotion.reconcile import Look, reconcile
from phi3core.registry.index import get_index
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import Abilities, find_abilities

from . import later, ui
from .escape import short

_FRESH = 5.0  # seconds: every press of a button draws the page anew
_PATIENCE, _AFTER_A_CHANGE = 0.3, 3.0  # seconds that a page waits before it shows what was known before


@dataclass(frozen=True)
class Seen:
    """What one look at a model found. look: None where there is no such model."""

    look: Look | None
    abilities: Abilities
    requests: tuple[Request, ...] = ()
    """Those that wait, of all its versions."""


def looked(name: str, changed: bool = False) -> later.State[Seen]:
    """The model as it is now, with what the look at it repaired. changed: a dialog of this page has just changed it."""
    if changed:
        later.drop(_key(name))
    return _state(name, _AFTER_A_CHANGE if changed else _PATIENCE)


def _state(name: str, patience: float) -> later.State[Seen]:
    config = ui.config()
    return later.state(_key(name), lambda: _look(config, name), _FRESH, patience)


def _key(name: str) -> tuple[str, str, str]:
    return "look", ui.config().tracking_uri, name


def _look(config: Settings, name: str) -> Seen:
    able = find_abilities(config)
    try:
        look = reconcile(config, name)
    except NotFound:
        return Seen(None, able)
    waiting: tuple[Request, ...] = ()
    with contextlib.suppress(Phi3Error):  # the look tells what is wrong with the records
        waiting = tuple(r for r in requests.of_model(config, name) if r.status in requests.WAITING)
    return Seen(look, able, waiting)


def indexed(name: str) -> list[Version]:
    """The model's versions as the index knows them, newest first."""
    return list(get_index(ui.config()).search(model=name, sort="version", per_page=10_000).versions)


def begin(name: str, asked: str) -> None:
    """Call it at the start of a version's page. It may draw itself anew only while nothing can have been opened on it:
    when it has just been come to, or has just drawn itself anew.
    """
    view = (name, asked)
    come = st.session_state.get("registry_view") != view
    st.session_state["registry_view"] = view
    st.session_state["registry_may_redraw"] = st.session_state.pop("registry_redrawn", False) or come


def hold() -> None:
    """Call it when a dialog is opened without the page being drawn: drawing it would close the dialog."""
    st.session_state["registry_may_redraw"] = False


def follow(name: str, state: later.State[Seen]) -> None:
    """Says that the store is still being asked, or why it does not answer; the page is drawn anew once it differs."""
    at_work = state.value is not None and state.value.look is not None and state.value.look.in_flight
    if state.error or state.busy or at_work:
        _follow(name, state.value)


@st.fragment(run_every=1.0)
def _follow(name: str, shown: Seen | None) -> None:
    state = _state(name, 0.0)
    news = not state.busy and not state.error and _differs(name, shown, state.value)
    if news and st.session_state.get("registry_may_redraw"):
        st.session_state["registry_redrawn"] = True
        st.rerun()
    if state.error:
        ui.show_error(state.error)
    elif state.busy:
        st.caption(f":material/sync: Asking the store about {short(name)} …")
    elif news:
        st.caption(":material/sync: There is news of this version: the next press of a button shows it.")


def _differs(name: str, shown: Seen | None, now: Seen | None) -> bool:
    """Whether a page that was drawn from this, or from the index where there was none yet, would look different now."""
    if shown is not None or now is None or now.look is None:
        return shown != now
    look = now.look
    told = look.said or look.in_flight or look.wrong or look.damage or now.requests or now.abilities != Abilities()
    return bool(told) or list(look.versions) != indexed(name)


def production(listed: Sequence[Version]) -> Version | None:
    """The version in Production, by its alias."""
    return next((version for version in listed if "production" in version.aliases), None)
