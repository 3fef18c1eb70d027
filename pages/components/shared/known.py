"""What is kept for some seconds of the record, the requests and the policies: a click somewhere asks nothing anew.

Everything here raises Phi3Error where the store can't be read, and may be called in a thread.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

import streamlit as st

from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Check
from phi3core.promotion.policy.requests import Request
from phi3core.promotion.record import search
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.search import Page
from phi3core.registry.models import Version

from . import ui


@dataclass(frozen=True)
class Filter:
    """Which records are asked for; empty means everything. since, until: when they were opened, both included."""

    model: str = ""
    version: int | None = None
    action: str = ""
    status: str = ""
    user: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def page(asked: Filter, token: str | None = None, limit: int = 50) -> Page:
    return search.page(ui.config(), **asdict(asked), limit=limit, token=token)


@st.cache_data(ttl=5, max_entries=20, show_spinner=False)
def of_model(model: str) -> list[Record]:
    return search.of_model(ui.config(), model)


@st.cache_data(ttl=5, max_entries=1, show_spinner=False)
def state() -> str:
    return search.state(ui.config())


@st.cache_data(ttl=5, max_entries=1, show_spinner=False)
def waiting() -> list[Request]:
    """The requests of all models that wait."""
    return requests.waiting(ui.config())


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def asked_for(model: str) -> list[Request]:
    """All requests of a model."""
    return requests.of_model(ui.config(), model)


def checks(version: Version, stage: str) -> list[Check]:
    """What a stage needs of a version, and what is met; empty where there is no policy."""
    return _checks(version.ref, version.source, stage, version)


@st.cache_data(ttl=10, max_entries=200, show_spinner=False)
def _checks(ref: str, source: str, stage: str, _version: Version) -> list[Check]:
    assert (ref, source) == (_version.ref, _version.source)
    return policy.checklist(ui.config(), _version, stage, look=True)


def forget() -> None:
    """Drop all of it, after something was changed."""
    for kept in (page, of_model, state, waiting, asked_for, _checks):
        kept.clear()
