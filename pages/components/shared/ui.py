"""The same thing looks the same everywhere: versions, stages, wrappers, numbers, errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from phi3core import tags
from phi3core.access import roles
from phi3core.access.login import load_login
from phi3core.access.roles import Person
from phi3core.endpoints.config import Endpoint
from phi3core.errors import BadInput, Phi3Error, StoreDown
from phi3core.markdown import safe_markdown
from phi3core.registry import reader
from phi3core.registry.models import Model, Version, VersionDetails
from phi3core.serving.pool import Pool, pool
from phi3core.settings import Settings, load_settings
from phi3core.store.client import ensure_reachable, hide_password

from . import later
from .waiting import patiently

STAGE_COLORS = {"Production": "green", "Staging": "orange", "Archived": "gray", "None": "gray"}
STAGE_ICONS = {
    "Production": ":material/verified:",
    "Staging": ":material/science:",
    "Archived": ":material/archive:",
    "None": ":material/radio_button_unchecked:",
}
WRAPPER_ICONS = {"transformers": ":material/hub:", "onnx": ":material/bolt:"}


@st.cache_resource
def config() -> Settings:
    return load_settings()


def servers() -> Pool:
    return pool(config())


def claims() -> Mapping[str, Any]:
    """What the provider says of whoever signed in; empty before."""
    return st.user if st.user.get("is_logged_in") else {}


def visitor() -> Person | None:
    """Who looks at this page, with their role as it is now; None where they have yet to sign in.

    Raises BadInput where the secrets file can't be understood, or where the provider tells no address to go by.
    """
    if not load_login(config()):
        return roles.local_person(config())
    if not (said := claims()):
        return None
    email, verified = said.get("email"), said.get("email_verified")
    if not isinstance(email, str) or not email.strip() or verified in (False, "false"):
        raise BadInput("Your sign-in tells no e-mail address of yours that was verified, and roles go by it.")
    groups = said.get(roles.groups_claim(config()))
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return roles.signed_in_person(config(), email.strip(), [str(group) for group in listed])


def person() -> Person:
    """Who acts on this page. Ends it where nobody may: app.py lets nobody in, but a page that is open outlives that."""
    with told():
        found = visitor()
    if found is None or not found.may("viewer"):
        st.stop()
    return found


@contextmanager
def told() -> Iterator[None]:
    """Show one of our errors as its sentence, with a way to try again, and end the page there.

    A page that the store's absence has ended is drawn again by itself when the store is back.
    """
    try:
        yield
    except Phi3Error as error:
        show_error(str(error))
        st.button("Try again", icon=":material/refresh:", key=f"retry_{type(error).__name__}")
        if isinstance(error, StoreDown):
            again_when_the_store_answers()
        st.stop()


def again_when_the_store_answers() -> None:
    """Say so and wait for it, without holding up anybody."""
    _wait_for_the_store([])


@st.fragment(run_every=2.0)
def _wait_for_the_store(runs: list[None]) -> None:
    st.caption(":material/autorenew: This page goes on by itself when the store answers.")
    # What was asked in one run is looked at in the next: a slow store's answer must not be too old by then.
    found = later.state(("store answers", config().tracking_uri), lambda: ensure_reachable(config()), fresh=3, wait=0)
    if runs and not found.busy and not found.error:
        st.rerun()
    runs.append(None)  # drawn with its page, it must not end it: a message may have just been sent


def show_error(text: str) -> None:
    """An error as its sentence. It may quote what a model's code printed, and error boxes render Markdown."""
    st.error(safe_markdown(text), icon=":material/error:")


def show_warning(text: str) -> None:
    """A warning as its sentence, which may quote an address that anybody made."""
    st.warning(safe_markdown(text), icon=":material/warning:")


def code(text: str) -> str:
    """Markdown that shows anybody's text as code."""
    return safe_markdown("`" + " ".join(text.replace("`", "'").split()) + "`")


def show_table(rows: dict[str, str]) -> None:
    """Names and values; table cells render Markdown, and the values are anybody's."""
    table = pd.DataFrame({"": [safe_markdown(value) for value in rows.values()]}, index=list(rows))
    st.table(table, hide_header=True, border="horizontal")


def models() -> list[Model]:
    return patiently("Reading the registry …", _models)


@st.cache_data(ttl=5, max_entries=10, show_spinner=False)
def _models() -> list[Model]:
    return reader.list_models(config())


def versions(name: str) -> list[Version]:
    return patiently("Reading the versions …", _versions, name)


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def _versions(name: str) -> list[Version]:
    return reader.list_versions(config(), name)


def resolve(ref: str) -> Version:
    return patiently("Reading the version …", reader.get_version, config(), ref)


def detail(version: Version) -> VersionDetails:
    found = _detail(version.ref, version.source, version)
    if found.mlmodel_error:
        _detail.clear(version.ref, version.source)  # the store may have it the next time
    return found


@st.cache_data(ttl=600, max_entries=200, show_spinner="Reading the version …")
def _detail(ref: str, source: str, _version: Version) -> VersionDetails:
    """Cached by ref and source: a version deleted and built again under the same number is another one."""
    assert (ref, source) == (_version.ref, _version.source)
    return reader.get_details(config(), _version)


def forget() -> None:
    """Drop what was read of the registry, after it was changed."""
    _models.clear()
    _versions.clear()


def stage_badge(stage: str) -> str:
    """Markdown. A version in no stage is only outlined."""
    if stage == "None":
        return ":gray[◌ None]"
    return f":{STAGE_COLORS[stage]}-badge[{STAGE_ICONS[stage]} {stage}]"


def alias_badges(version: Version) -> str:
    """Markdown; the reserved aliases are left out, because the stage says the same."""
    shown = [alias for alias in version.aliases if alias not in tags.RESERVED_ALIASES]
    return " ".join(f":blue-badge[@{alias}]" for alias in shown)


def wrapper(name: str) -> str:
    return f"{WRAPPER_ICONS.get(name, ':material/help:')} {name or 'not ours'}"


def whom(version: Version | None, endpoint: Endpoint | None) -> str:
    """Markdown: a version with its stage and aliases, or an endpoint."""
    if endpoint is not None:
        return f":material/cloud: **{safe_markdown(code(endpoint.name))}** {code(endpoint.model or endpoint.dialect)}"
    assert version is not None
    badge = stage_badge(version.stage) if version.stage != "None" else ""
    return f"{wrapper(version.wrapper)} **{version.ref}** {badge} {alias_badges(version)}"


def megabytes(size: float | None) -> str:
    if not size:
        return "–"
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def ago(when: datetime) -> str:
    seconds = (datetime.now(UTC) - when).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def store_name(uri: str) -> str:
    """The tracking URI as people know it, without its password."""
    if uri.startswith("sqlite:///"):
        return f"SQLite file {uri.removeprefix('sqlite:///')}"
    return hide_password(uri, uri)


EMBEDDED_NOTE = (
    "**phi3-embedded is not Phi-3.** It is SmolLM2-135M-Instruct, a small stand-in repacked in Phi-3's architecture so "
    "that everything works offline. It is fluent and often wrong. For the real one, build from "
    "`hf:microsoft/Phi-3-mini-4k-instruct` on the Build page."
)
