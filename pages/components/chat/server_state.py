"""The state of the model server that a conversation is had with, and of the turns that the store has yet to take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import escape, short
from phi3core.chat import history
from phi3core.chat.conversation import Conversation
from phi3core.chat.model_client import model_properties
from phi3core.errors import Phi3Error
from phi3core.serving.handle import ModelServer, Status
from phi3core.timestamps import now_ms

from .target import Selection

_COMING = ("starting", "loading")


@dataclass(frozen=True)
class ServerState:
    """What is known of a model server.

    server: None while it is not open, and for an endpoint. status, props: None and {} while unknown.
    """

    server: ModelServer | None = None
    status: Status | None = None
    props: dict[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return self.status is not None and self.status.state in ("ready", "busy")

    @property
    def chat(self) -> str:
        """How the model takes a conversation, as /props tells: “template”, “prompt” or “none”; "" while unknown."""
        return str(self.props.get("chat", ""))


def read(chosen: Selection) -> ServerState:
    """What is known by now. Opens nothing, and hardly waits."""
    version = chosen.version
    if version is None:
        return ServerState()
    found = [s for s in ui.servers().servers() if (s.ref, s.version.source) == (version.ref, version.source)]
    if not found:
        return ServerState()
    server = found[-1]
    status = reads.latest(server.status, max_age=0.5, key=("status", server.ref, server.key)).value
    if status is None or status.state not in ("ready", "busy"):
        return ServerState(server, status)
    props = reads.latest(model_properties, server, key=("props", server.ref, server.key)).value
    return ServerState(server, status, props or {})


def show(chosen: Selection, conversation: Conversation) -> None:
    """The state of the model server, kept up to date while it changes."""
    state = read(chosen)
    late = _waiting(conversation)
    busy = state.status is not None and state.status.state == "busy"
    every = 1.0 if _unsettled(chosen, conversation, state) else 3.0 if late or busy else None
    live_part.draw(_show, chosen, conversation, every, every=every)


def _unsettled(chosen: Selection, conversation: Conversation, state: ServerState) -> bool:
    """Whether the model server is about to be in another state."""
    if chosen.version is None:
        return False
    if state.server is None:
        return _opening(chosen, conversation)
    return state.status is None or state.status.state in _COMING or (state.open and not state.props)


def _opening(chosen: Selection, conversation: Conversation) -> bool:
    """Whether an answer has been asked for that opens the model server."""
    current = conversation.current
    return current is not None and current.ref == chosen.ref


def _show(by_itself: bool, chosen: Selection, conversation: Conversation, every: float | None) -> None:
    state = read(chosen)
    if by_itself and every == 1.0 and not _unsettled(chosen, conversation, state):
        st.rerun()  # what it can do is known now: everything else is drawn by it
    if chosen.version is not None:
        _show_server(chosen, conversation, state)
    if not conversation.saved:
        st.caption(":material/cloud_off: Tracing is off (PHI3_TRACING=off): this conversation is not saved.")
    elif late := _waiting(conversation):
        st.caption(f":material/cloud_sync: {escape(late)}")


def _show_server(chosen: Selection, conversation: Conversation, state: ServerState) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        status = state.status
        if state.server is None and _opening(chosen, conversation):
            st.caption(":material/progress_activity: Opening …")
        elif state.server is None:
            st.caption(":material/radio_button_unchecked: Not open yet: the first message opens it.")
            _open_button(chosen, "Open now")
        elif status is None:
            st.caption(":material/progress_activity: Looking at the model server …")
        elif status.state in _COMING:
            doing = {"starting": "Starting", "loading": "Loading"}[status.state]
            words = f"{doing} {short(status.detail)}".strip()
            st.caption(f":material/progress_activity: {words} · {status.seconds:.0f} s")
        elif status.state == "failed":
            _show_failure(chosen, conversation, status.reason)
            _open_button(chosen, "Open again")
        else:
            icon = ":green[:material/check_circle:]" if status.state == "ready" else ":material/hourglass_top:"
            word = "Ready" if status.state == "ready" else "Busy"
            st.caption(f"{icon} {word}{' · ' + short(status.detail) if status.detail else ''}{_kind(state)}")


def _show_failure(chosen: Selection, conversation: Conversation, reason: str) -> None:
    last = conversation.path[-1] if conversation.path else None
    if last is not None and last.state == "failed" and last.ref == chosen.ref:  # the turn says the same, and more
        st.caption(":material/error: Not open any more: the last answer failed.")
    else:
        ui.show_error(f"{chosen.ref} is not open. {reason}")


def _kind(state: ServerState) -> str:
    return {
        "prompt": " · takes one prompt and knows no conversation: only your last message is sent",
        "none": " · can't be chatted with",
    }.get(state.chat, "")


def _open_button(chosen: Selection, label: str) -> None:
    assert chosen.version is not None
    if st.button(label, icon=":material/play_circle:", type="tertiary", key="chat_open"):
        try:
            ui.servers().open(chosen.version)
        except Phi3Error as error:
            ui.show_error(str(error))
            return
        st.rerun()


def _waiting(conversation: Conversation) -> str:
    """What the store has not taken yet, in words; empty where all is taken, or was sent a moment ago."""
    count = history.count_pending(ui.config())
    last = max((turn.when + turn.took_ms for turn in conversation.path), default=0.0)
    trouble = history.sending_error(ui.config())
    if not count or (not trouble and now_ms() - last < 5000):  # on its way
        return ""
    waits = "1 change waits" if count == 1 else f"{count} changes wait"
    return f"{waits} for the store, safe on this machine until it takes them. {trouble}".strip()
