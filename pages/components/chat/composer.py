"""Where a message is written: as a turn of the conversation, as a raw prompt, or for an answer in JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.access.login import load_login
from phi3core.chat.answer import read_schema
from phi3core.chat.conversation import Conversation
from phi3core.chat.model_client import render_prompt
from phi3core.errors import BadInput

from . import context_bar, prompt_library, turn_foot
from .server_state import ServerState
from .target import Selection

CHAT, RAW, JSON = "Chat", "Raw prompt", "JSON"
_EXAMPLE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
}


@dataclass(frozen=True)
class Message:
    """What was written and is to be sent. schema: of an answer in JSON, else None."""

    text: str
    raw: bool = False
    schema: dict[str, Any] | None = None


def show(chosen: Selection, conversation: Conversation, state: ServerState, system: str) -> Message | None:
    """Draw it below the page, and return what was sent just now. Raises BadInput for a schema that is none."""
    if not conversation.may_write(ui.person().name):
        _show_whose(conversation)
        return None
    modes = _modes(chosen, state)
    if st.session_state.get("chat_mode") not in modes:
        st.session_state["chat_mode"] = modes[0]
    schema = ""
    row = partial(st.container, horizontal=True, vertical_alignment="center", gap="small")
    with st.bottom, row(horizontal_alignment="distribute"):
        with row(width="content"):
            mode = st.session_state["chat_mode"]
            if len(modes) > 1:
                mode = st.segmented_control("Mode", modes, key="chat_mode", required=True, label_visibility="collapsed")
            if mode == JSON:
                schema = _schema()
            prompt_library.insert("chat_insert")
        if mode != RAW:  # which is sent alone, and counted below its box
            with st.container(width=360):  # a phone's whole width, where it stands in a line of its own
                context_bar.show(chosen, conversation, system)
    _say_who_reads()
    if mode == RAW:
        with st.bottom:
            return _raw(conversation, state, system)
    # Not in st.bottom, where it comes by itself: only so does the page stay at its end while an answer grows.
    return _message(conversation, mode, schema)


def _say_who_reads() -> None:
    """Beside the box, where there are others: who reads what is written into it."""
    if load_login(ui.config()):
        who = "You and the admins read" if ui.config().private else "Everybody who may sign in here reads"
        with st.bottom:
            st.caption(f":material/visibility: {who} this conversation.")


def _show_whose(conversation: Conversation) -> None:
    """In place of the box for messages: another person's conversation is read."""
    with st.bottom, st.container(horizontal=True, vertical_alignment="center", key="chat_of_another"):
        st.markdown(f":material/lock: This is **{short(conversation.author)}**'s conversation: you read it.")
        last = next(reversed(conversation.path), None)
        busy = last is None or last.state == "running"
        if st.button("Branch to go on", icon=":material/call_split:", key="chat_branch", disabled=busy) and last:
            turn_foot.branch(conversation, last)


def _modes(chosen: Selection, state: ServerState) -> list[str]:
    """The ways in which the model can be asked, as far as is known."""
    if chosen.endpoint is not None:
        return [CHAT, RAW, JSON] if chosen.endpoint.kind == "openai" else [CHAT]
    assert chosen.version is not None
    if not state.props:
        return [CHAT, RAW, JSON] if chosen.version.wrapper else [CHAT]
    raw = [RAW] if state.chat in ("template", "prompt") else []
    return [CHAT, *raw, *([JSON] if "json_schema" in state.props.get("supports", ()) else [])]


# ---------------------------------------------------------------- a message


def clear(message: Message) -> None:
    """What was sent leaves its box, now that the conversation has it."""
    st.session_state.pop("chat_draft", None)
    if message.raw:
        st.session_state["chat_raw_sent"] = True
        st.rerun()  # its box is drawn already


def keep_draft() -> None:
    """Keep what was just sent until the conversation has it: where that fails, it comes back into its box."""
    if sent := st.session_state.get("chat_input"):
        st.session_state["chat_draft"] = sent


def _message(conversation: Conversation, mode: str, schema: str) -> Message | None:
    sent = st.session_state.get("chat_input")
    if text := st.session_state.pop("chat_insert", ""):
        st.session_state["chat_input"] = text
    elif not sent and "chat_draft" in st.session_state:
        st.session_state["chat_input"] = st.session_state.pop("chat_draft")
    text = st.chat_input("Message" if mode == CHAT else "Message, answered in JSON", key="chat_input")
    if not text:
        return None
    if conversation.running:
        st.toast("An answer is still coming: your message waits in its box.", icon=":material/hourglass_top:")
        st.rerun()
    return Message(text, schema=read_schema(schema) if mode == JSON else None)


def _schema() -> str:
    """The popover with the JSON schema."""
    st.session_state.setdefault("chat_schema", st.session_state.get("chat_schema_kept", ""))
    with st.popover("Schema", icon=":material/data_object:", type="tertiary"):
        text = st.text_area("JSON schema", key="chat_schema", height=220, placeholder="Empty: any JSON object")
        st.session_state["chat_schema_kept"] = text
        try:
            found = read_schema(text)
            count = len(found.get("properties") or {})
            of = f"A schema with {count} {'property' if count == 1 else 'properties'}."
            st.caption(f":material/check: {of if found else 'Any JSON object.'}")
        except BadInput as error:
            ui.show_error(str(error))
        st.button(
            "Insert an example", icon=":material/input:", key="chat_schema_example", type="tertiary",
            on_click=st.session_state.update, args=({"chat_schema": json.dumps(_EXAMPLE, indent=2)},),
        )  # fmt: skip
    return text


# ---------------------------------------------------------------- a raw prompt


def _raw(conversation: Conversation, state: ServerState, system: str) -> Message | None:
    if text := st.session_state.pop("chat_insert", ""):
        st.session_state["chat_raw"] = text
    if st.session_state.pop("chat_raw_sent", False):
        st.session_state["chat_raw"] = ""
    st.session_state.setdefault("chat_raw", st.session_state.get("chat_raw_kept", ""))
    text = st.text_area(
        "Raw prompt", key="chat_raw", height=150, label_visibility="collapsed",
        placeholder="Sent as it is, without a chat template. Ctrl+Enter counts its tokens.",
    )  # fmt: skip
    st.session_state["chat_raw_kept"] = text
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        busy = conversation.running
        if st.button("Send", type="primary", icon=":material/send:", key="chat_raw_send", disabled=busy):
            return Message(text, raw=True)
        template = _template(conversation, state, system)
        st.button(
            "Insert rendered template", icon=":material/code:", key="chat_raw_template", type="tertiary",
            disabled=not template, help="The conversation as the model last read it, by its own chat template.",
            on_click=st.session_state.update, args=({"chat_raw": template},),
        )  # fmt: skip
        if count := _count(state, text):
            st.caption(count)
    return None


def _template(conversation: Conversation, state: ServerState, system: str) -> str:
    """What the model last read; before that, an empty conversation as it would read it."""
    read = next((turn.prompt for turn in reversed(conversation.path) if turn.prompt and not turn.raw), "")
    if read or not state.open or state.chat != "template":
        return read
    server = state.server
    assert server is not None
    asked = [{"role": "system", "content": system}] if system.strip() else []
    asked.append({"role": "user", "content": "Write your message here."})
    found = reads.latest(render_prompt, server, asked, key=("template", server.ref, server.key, system)).value
    return found[1] if found else ""


def _count(state: ServerState, text: str) -> str:
    server = state.server
    if server is None or not state.open or not text:
        return ""
    key = ("count", server.ref, server.key, text)
    found = reads.latest(render_prompt, server, text, patience=0.5, key=key).value
    return f"{found[0]:,} tokens" if found and found[0] is not None else ""
