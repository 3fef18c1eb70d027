"""How things stand around a conversation: its model server, how full the context is, what waits for the store."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from pages.components.shared import later, ui
from phi3core.chat import history
from phi3core.chat.conversation import Conversation
from phi3core.chat.model_client import model_properties
from phi3core.errors import Phi3Error
from phi3core.serving.handle import ModelServer, Status

from .target import Chosen

_COMING = ("starting", "loading")
_NEARLY = 0.85  # of the context: from here on it is said aloud


@dataclass(frozen=True)
class Seen:
    """What is known of whom we talk to. server: None while it is not open; status, props: None and {} while unknown."""

    server: ModelServer | None = None
    status: Status | None = None
    props: dict[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return self.status is not None and self.status.state in ("ready", "busy")

    @property
    def chat(self) -> str:
        """How it takes a conversation, as /props tells; empty while unknown."""
        return str(self.props.get("chat", ""))


def look(chosen: Chosen) -> Seen:
    """What is known by now; opens nothing, and waits for nobody for long."""
    version = chosen.version
    if version is None:
        return Seen()
    found = [s for s in ui.servers().servers() if (s.ref, s.version.source) == (version.ref, version.source)]
    if not found:
        return Seen()
    server = found[-1]
    status = later.ask(("status", server.ref, server.key), server.status, fresh=0.5)
    if status is None or status.state not in ("ready", "busy"):
        return Seen(server, status)
    props = later.ask(("props", server.ref, server.key), lambda: model_properties(server))
    return Seen(server, status, props or {})


# ---------------------------------------------------------------- the model server


def show_state(chosen: Chosen, conversation: Conversation) -> None:
    """The state of the model server, kept up to date while it changes."""
    seen = look(chosen)
    late = _waiting(conversation)
    busy = seen.status is not None and seen.status.state == "busy"
    every = 1.0 if _unsettled(chosen, conversation, seen) else 3.0 if late or busy else None
    st.fragment(_show_state, run_every=every)(chosen, conversation, every)


def _unsettled(chosen: Chosen, conversation: Conversation, seen: Seen) -> bool:
    """Whether the model server is about to be in another state."""
    if chosen.version is None:
        return False
    if seen.server is None:
        return _opening(chosen, conversation)
    return seen.status is None or seen.status.state in _COMING or (seen.open and not seen.props)


def _opening(chosen: Chosen, conversation: Conversation) -> bool:
    """Whether an answer is coming that opens it."""
    current = conversation.current
    return current is not None and current.ref == chosen.ref


def _show_state(chosen: Chosen, conversation: Conversation, every: float | None) -> None:
    seen = look(chosen)
    if every == 1.0 and not _unsettled(chosen, conversation, seen):
        st.rerun()  # what it can do is known now: everything else is drawn by it
    if chosen.version is not None:
        _show_server(chosen, conversation, seen)
    if not conversation.saved:
        st.caption(":material/cloud_off: Tracing is off (PHI3_TRACING=off): this conversation is not saved.")
    elif late := _waiting(conversation):
        st.caption(f":material/cloud_sync: {late}")


def _show_server(chosen: Chosen, conversation: Conversation, seen: Seen) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        status = seen.status
        if seen.server is None and _opening(chosen, conversation):
            st.caption(":material/progress_activity: Opening …")
        elif seen.server is None:
            st.caption(":material/radio_button_unchecked: Not open yet: the first message opens it.")
            _open_button(chosen, "Open now")
        elif status is None:
            st.caption(":material/progress_activity: Looking at the model server …")
        elif status.state in _COMING:
            doing = {"starting": "Starting", "loading": "Loading"}[status.state]
            told = f"{doing} {status.detail}".strip()
            st.caption(f":material/progress_activity: {told} · {status.seconds:.0f} s")
        elif status.state == "failed":
            _show_failure(chosen, conversation, status.reason)
            _open_button(chosen, "Open again")
        else:
            icon = ":green[:material/check_circle:]" if status.state == "ready" else ":material/hourglass_top:"
            word = "Ready" if status.state == "ready" else "Busy"
            st.caption(f"{icon} {word}{' · ' + status.detail if status.detail else ''}{_kind(seen)}")


def _show_failure(chosen: Chosen, conversation: Conversation, reason: str) -> None:
    last = conversation.path[-1] if conversation.path else None
    if last is not None and last.state == "failed" and last.ref == chosen.ref:  # the turn says the same, and more
        st.caption(":material/error: Not open any more: the last answer failed.")
    else:
        ui.show_error(f"{chosen.ref} is not open. {reason}")


def _kind(seen: Seen) -> str:
    return {
        "prompt": " · takes one prompt and knows no conversation: only your last message is sent",
        "none": " · can't be chatted with",
    }.get(seen.chat, "")


def _open_button(chosen: Chosen, label: str) -> None:
    assert chosen.version is not None
    if st.button(label, icon=":material/play_circle:", type="tertiary", key="chat_open"):
        try:
            ui.servers().open(chosen.version)
        except Phi3Error as error:
            ui.show_error(str(error))
            return
        st.rerun()


def _waiting(conversation: Conversation) -> str:
    """What the store has not taken yet, in words; empty while there is nothing to worry about."""
    count = history.count_pending(ui.config())
    last = max((turn.when + turn.took_ms for turn in conversation.path), default=0.0)
    trouble = history.sending_error(ui.config())
    if not count or (not trouble and time.time() * 1000 - last < 5000):  # on its way
        return ""
    waits = "1 change waits" if count == 1 else f"{count} changes wait"
    return f"{waits} for the store, safe on this machine until it takes them. {trouble}".strip()


# ---------------------------------------------------------------- how full the context is


def show_fullness(chosen: Chosen, conversation: Conversation, system: str) -> None:
    """A slim bar; draws nothing where nobody knows. While an answer comes, it stays as it was."""
    if conversation.running:
        _draw_bar(conversation, st.session_state.get("chat_measured"))
        return
    measured = _measure(chosen, conversation, system)
    st.session_state["chat_measured"] = measured
    st.fragment(_show_fullness, run_every=None if measured else 1.0)(chosen, conversation, system, bool(measured))


def _show_fullness(chosen: Chosen, conversation: Conversation, system: str, known: bool) -> None:
    measured = _measure(chosen, conversation, system)
    if measured and not known:
        st.rerun()
    _draw_bar(conversation, measured)


def _draw_bar(conversation: Conversation, measured: tuple[int | None, int | None] | None) -> None:
    tokens, context = measured or (None, None)
    if not tokens or not context:
        return
    part = min(tokens / context, 1.0)
    forgot = conversation.path[-1].forgot if conversation.path else 0
    left = f" · the {forgot} oldest turns are not sent" if forgot > 1 else " · the oldest turn is not sent"
    full = " · nearly full" if part >= _NEARLY else ""
    words = f"{tokens:,} of {context:,} tokens{full}{left if forgot else ''}"
    st.progress(part, text=f":small[{words}]")


def _measure(chosen: Chosen, conversation: Conversation, system: str) -> tuple[int | None, int | None] | None:
    """What the next message would be sent with; None while that is being found out. (None, None): nobody knows."""
    if chosen.endpoint is not None:
        server: Any = chosen.endpoint
        # What was said elsewhere is told to nobody before a question is sent there.
        told = any(turn.ref == chosen.ref for turn in conversation.path)
        if chosen.endpoint.kind != "openai" or not told:
            return None, None
    else:
        seen = look(chosen)
        server = seen.server
        if not seen.open or not seen.props or seen.chat != "template":
            return None, None
    path = conversation.path
    if not path and not system.strip():
        return 0, None
    last = (path[-1].id, path[-1].state) if path else ()
    key = ("measure", chosen.ref, server.key, conversation.id, last, system)
    return later.ask(key, lambda: conversation.count_tokens(server, system))
