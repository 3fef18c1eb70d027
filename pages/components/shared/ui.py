"""How pages draw versions, stages, wrappers, numbers and errors, and who looks at them with which settings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from phi3core import tags
from phi3core.access import roles, sign_in
from phi3core.access.login import load_login
from phi3core.access.roles import Person
from phi3core.endpoints.config import Endpoint
from phi3core.errors import Phi3Error, StoreDown
from phi3core.promotion.code_trust import is_trusted
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool, pool
from phi3core.settings import Settings, load_settings
from phi3core.store.client import ensure_reachable, hide_password
from phi3core.text import bytes_in_words, plural, two_digits

from . import live_part, reads
from .escape import as_code, escape, short

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
    return pool(config(), is_trusted)


def claims() -> Mapping[str, Any]:
    """What the identity provider says of the person who has signed in; empty before."""
    return st.user if st.user.get("is_logged_in") else {}


def visitor() -> Person | None:
    """The person who looks at this page, with the role as it is now; None before the sign-in.

    Raises BadInput where the secrets file can't be understood, or where the provider tells no verified address.
    """
    if not load_login(config()):
        return roles.local_person(config())
    if not (found := claims()):
        return None
    return sign_in.person_with_claims(config(), found)


def person() -> Person:
    """The person who acts on this page. Ends the page where the role is gone: app.py checked it when it was opened."""
    with stop_on_error():
        found = visitor()
    if found is None or not found.may("viewer"):
        st.stop()
    return found


@contextmanager
def stop_on_error() -> Iterator[None]:
    """Show one of our errors as its sentence, with a way to try again, and end the page there.

    A page that the store's absence has ended is drawn again by itself when the store is back.
    """
    try:
        yield
    except Phi3Error as error:
        show_error(str(error))
        st.button("Try again", icon=":material/refresh:", key=f"retry_{type(error).__name__}")
        if isinstance(error, StoreDown):
            rerun_when_store_answers()
        st.stop()


@contextmanager
def show_errors() -> Iterator[None]:
    """Show one of our errors as its sentence in the place of the part that failed; the rest of the page stands."""
    try:
        yield
    except Phi3Error as error:
        show_error(str(error))


def rerun_when_store_answers() -> None:
    """Say that the page goes on by itself, and ask the store in the background until it answers."""
    live_part.draw(_wait_for_store, time.monotonic(), every=2.0)


def _wait_for_store(by_itself: bool, drawn: float) -> None:
    st.caption(":material/autorenew: This page goes on by itself when the store answers.")
    # What was asked in one run is used in a later one, and on a busy machine that may be long after: any answer counts
    # that came since the page was drawn.
    answer = reads.latest(ensure_reachable, config(), max_age=3, patience=0)
    if by_itself and not answer.error and answer.age is not None and answer.age < time.monotonic() - drawn:
        st.rerun()


def show_error(text: str) -> None:
    """Show an error's sentence, escaped: it may quote what a model's code printed, and error boxes render Markdown."""
    st.error(escape(text), icon=":material/error:")


def show_warning(text: str) -> None:
    """Show a warning's sentence, escaped: it may quote an address from outside."""
    st.warning(escape(text), icon=":material/warning:")


def show_table(rows: dict[str, str]) -> None:
    """A table of names and values. Its cells render Markdown, so that both are escaped."""
    table = pd.DataFrame({"": [escape(value) for value in rows.values()]}, index=[short(name, 250) for name in rows])
    st.table(table, hide_header=True, border="horizontal")


def stage_badge(stage: str) -> str:
    """Markdown. A version in no stage is only outlined."""
    if stage == "None":
        return ":gray[◌ None]"
    return f":{STAGE_COLORS[stage]}-badge[{STAGE_ICONS[stage]} {stage}]"


def version_stage(version: Version) -> str:
    """Markdown: the stage that a version is in, and what MLflow's own stage says where that is another one."""
    badge = stage_badge(version.stage)
    return f"{badge} {contrary_badge(version)}" if version.contrary_stage else badge


def contrary_badge(version: Version) -> str:
    """Markdown for what MLflow's own stage says where that is another one; else ""."""
    return f":red-badge[:material/warning: MLflow: {short(version.contrary_stage)}]" if version.contrary_stage else ""


def alias_badges(version: Version) -> str:
    """Markdown; the reserved aliases are left out, because the stage says the same."""
    shown = [alias for alias in version.aliases if alias not in tags.RESERVED_ALIASES]
    return " ".join(f":blue-badge[@{short(alias)}]" for alias in shown)


def wrapper(name: str) -> str:
    """Markdown. name: as the version's tag has it, which anybody may have written."""
    return f"{WRAPPER_ICONS.get(name, ':material/help:')} {short(name, 40) or 'not ours'}"


def measured(version: Version) -> str:
    """Markdown: where a version's figures come from, to stand behind one of them."""
    if version.measured is None:
        return "when it was built"
    return f"on {short(str(version.measured), 200)}"


def target_line(version: Version | None, endpoint: Endpoint | None) -> str:
    """Markdown: the version with its stage and aliases, or the endpoint, that a conversation is had with."""
    if endpoint is not None:
        return f":material/cloud: **{as_code(endpoint.name)}** {as_code(endpoint.model or endpoint.dialect)}"
    assert version is not None
    badge = version_stage(version) if version.stage != "None" or version.contrary_stage else ""
    return f"{wrapper(version.wrapper)} **{short(version.ref)}** {badge} {alias_badges(version)}"


def speed(tokens: float) -> str:
    """Tokens per second, with two digits at least: ``16 tokens/s``, ``0.28 tokens/s``."""
    return f"{two_digits(tokens)} tokens/s"


def counted(count: int, noun: str) -> str:
    """A number with its noun: ``1 turn``, ``2,000 turns``."""
    return f"{count:,} {plural(count, noun)}"


def size(count: float | None) -> str:
    return bytes_in_words(count) if count else "–"


def ago(when: datetime) -> str:
    seconds = (datetime.now(UTC) - when).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {plural(count, unit)} ago"
    return "just now"


def store_name(uri: str) -> str:
    """The tracking URI for display, without its password."""
    if uri.startswith("sqlite:///"):
        return f"SQLite file {uri.removeprefix('sqlite:///')}"
    return hide_password(uri, uri)


EMBEDDED_NOTE = (
    "**phi3-embedded is not Phi-3.** It is SmolLM2-135M-Instruct, a small stand-in repacked in Phi-3's architecture so "
    "that everything works offline. It is fluent and often wrong. For the real one, build from "
    "`hf:microsoft/Phi-3-mini-4k-instruct` on the Build page."
)
