"""How a turn of a conversation is drawn: finished, with what can be done with it, or while its answer comes."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext

import streamlit as st

from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import escape
from phi3core.chat.context_window import count_tokens, count_turns_to_forget
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_turn import LiveTurn
from phi3core.clean_text import without_control
from phi3core.errors import Forbidden, ServerError
from phi3core.markdown import safe_markdown
from phi3core.registry.models import Version
from phi3core.traces.turn import Turn

from . import browser, turn_foot
from .line_breaks import with_line_breaks
from .turn_foot import TurnRequest

SHOWN = 30  # turns that are drawn at first, the newest
_USER, _MODEL = ":material/person:", ":material/deployed_code:"
# Beyond these a text is shown as it is written: to read it as Markdown takes a browser too long.
_LONG, _LONG_LINE, _IMAGES = 20_000, 2_000, 20
_IMPOSSIBLE = -1
_SLICE, _EVERY = 0.5, 0.05  # seconds: a run of the live answer, and between two looks at it
_NEXT = 0.1  # seconds from a run of it to the next


def show_all(request: TurnRequest) -> None:
    """The path of the conversation; of a long one the newest turns, until the button for the others is pressed."""
    path = request.conversation.path
    hidden = max(0, len(path) - SHOWN) if st.session_state.get("chat_all") != request.conversation.id else 0
    if hidden and st.button(f"Show {hidden} earlier turns", icon=":material/history:", key="chat_show_all"):
        st.session_state["chat_all"] = request.conversation.id
        st.rerun()
    for turn in path[hidden:]:
        last = turn is path[-1]
        # The page follows a growing answer by itself only where its box is the one for messages.
        with st.container(key="chat_raw_turn") if last and turn.raw else nullcontext():
            _show_turn(request, turn, last)
    if path and path[-1].raw:
        browser.reveal("chat_raw_turn", once=path[-1].id)


def _show_turn(request: TurnRequest, turn: Turn, last: bool) -> None:
    live = request.conversation.live
    if turn.state == "running" and live is not None:
        _show_running(request.conversation, live)
    else:
        _show_ended(request, turn, last)


def show_text(text: str) -> None:
    """A model's words: Markdown without images and without HTML, or as they are written where that would be slow."""
    text = without_control(text)
    if len(text) > _LONG or text.count("![") > _IMAGES or any(len(line) > _LONG_LINE for line in _with_images(text)):
        st.text(text)
    else:
        st.markdown(with_line_breaks(safe_markdown(text)))


def _with_images(text: str) -> list[str]:
    return [line for line in text.split("\n") if "![" in line]


def _show_question(turn: Turn) -> None:
    if turn.raw:
        st.caption("Raw prompt")
        _show_code(turn.question)
    else:
        st.text(without_control(turn.question))


# ---------------------------------------------------------------- while the answer comes


def _show_running(conversation: Conversation, live: LiveTurn) -> None:
    with st.chat_message("user", avatar=_USER):
        _show_question(live.turn)
    with st.chat_message("assistant", avatar=_MODEL):
        answer = st.container()
        # Outside the live part: a click runs the page, which does not wait for the answer.
        me = ui.person()
        if me.may("admin") or conversation.may_write(me.name):
            st.button(
                "Stop", icon=":material/stop_circle:", key="chat_stop", on_click=_stop, args=(conversation, live),
                shortcut="Esc",
            )  # fmt: skip
        with answer:
            live_part.draw(_follow, live, every=_NEXT)


def _follow(by_itself: bool, live: LiveTurn) -> None:
    """A stretch of the answer as it comes; short, so that what is clicked elsewhere has its turn.

    With the page one look only: until its run has ended, what it drew before stays on the screen beside this.
    """
    turn = live.turn
    text, waiting = st.empty(), st.empty()
    until, shown = time.monotonic() + _SLICE, None
    while True:
        now = (len(turn.answer), live.waiting, turn.state)
        if now != shown:
            with text.container():
                show_text(turn.answer)
            if live.waiting:
                waiting.caption(f":material/progress_activity: {escape(live.waiting)} …")
            else:
                waiting.empty()
            shown = now
        if by_itself and turn.state != "running":
            st.rerun()  # draw it as ended, with its figures
        if not by_itself or time.monotonic() > until:
            return
        # The longer it is, the longer a browser needs to draw it.
        time.sleep(_EVERY + len(turn.answer) / 200_000)


def _stop(conversation: Conversation, live: LiveTurn) -> None:
    try:
        conversation.stop(ui.person())
    except Forbidden as error:
        ui.show_error(str(error))
        return
    deadline = time.monotonic() + 2  # within a token or two
    while live.turn.state == "running" and time.monotonic() < deadline:
        time.sleep(0.02)


# ---------------------------------------------------------------- when it has ended


def _show_ended(request: TurnRequest, turn: Turn, last: bool) -> None:
    with st.chat_message("user", avatar=_USER):
        if st.session_state.get("chat_editing") == turn.id:
            _edit(request, turn)
        else:
            _show_question(turn)
            _siblings(request.conversation, turn)
    with st.chat_message("assistant", avatar=_MODEL):
        _show_answer(turn)
        if (turn.full or turn.filled) and last and request.may_write:
            _make_room(request, turn)
        turn_foot.show(request, turn, last)


def _show_answer(turn: Turn) -> None:
    if turn.note:
        st.caption(f":material/info: {escape(turn.note)}")
    if turn.schema is not None and turn.answer:
        if (pretty := _pretty(turn.answer)) is None:
            st.caption(":material/data_object: Not valid JSON, shown as it came.")
        _show_code(pretty or turn.answer, "json")
    elif turn.raw and turn.answer:
        _show_code(turn.answer)
    elif turn.answer.lstrip().startswith(("{", "[")) and (pretty := _pretty(turn.answer)):
        _show_code(pretty, "json")  # a model that gives a table, or a list of scores
    elif turn.answer:
        show_text(turn.answer)
    elif turn.state == "done":
        st.caption("The model ended its answer without a word.")
    if turn.error:
        ui.show_error(turn.error)
    if turn.filled:
        st.caption(":material/content_cut: Cut off: the context is full.")
    elif turn.finish_reason == "length" and turn.state == "done":
        st.caption(":material/content_cut: Cut off at the longest answer allowed; raise it in the sidebar.")
    if turn.state == "stopped":
        st.caption(":material/stop_circle: Stopped.")


def _show_code(text: str, language: str | None = None) -> None:
    st.code(without_control(text), language=language, wrap_lines=True)


def _pretty(answer: str) -> str | None:
    """JSON with a line for each value; None where the answer is none."""
    try:
        return json.dumps(json.loads(answer), indent=2, ensure_ascii=False)
    except ValueError:
        return None


def _siblings(conversation: Conversation, turn: Turn) -> None:
    """The way to the other answers and wordings at the turn's place."""
    others = conversation.siblings(turn)
    if len(others) < 2:
        return
    at = next(number for number, other in enumerate(others) if other.id == turn.id)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for label, to, hint in (("‹", at - 1, "The one before"), ("›", at + 1, "The next one")):
            st.button(
                label, key=f"turn_{to - at}_{turn.id}", type="tertiary", help=hint, on_click=_select,
                args=(conversation, others[to % len(others)]), disabled=not 0 <= to < len(others),
            )  # fmt: skip
            if label == "‹":
                st.caption(f"{at + 1}/{len(others)}", width="content")


def _select(conversation: Conversation, turn: Turn) -> None:
    conversation.select(turn)
    st.session_state.pop("chat_editing", None)


def _edit(request: TurnRequest, turn: Turn) -> None:
    key = f"turn_edit_{turn.id}"
    st.session_state.setdefault(key, turn.question)
    text = st.text_area("Message", key=key, height=120, label_visibility="collapsed")
    browser.reveal(key, once=f"{turn.id} {st.session_state.get('chat_edits', 0)}", focus=True)
    with st.container(horizontal=True):
        if st.button("Send", type="primary", icon=":material/send:", key="turn_edit_send"):
            request.again(turn, question=text)
        if st.button("Cancel", key="turn_edit_cancel"):
            st.session_state.pop("chat_editing", None)
            st.rerun()


def _make_room(request: TurnRequest, turn: Turn) -> None:
    """The context is full: what can be done."""
    least = _least(request, turn)
    if least == _IMPOSSIBLE:
        st.caption("The message alone does not fit: shorten it.")
    with st.container(horizontal=True):
        if least not in (_IMPOSSIBLE, turn.forgot if turn.filled else _IMPOSSIBLE):
            _forget_button(request, turn, least)
        if st.button("Edit the message", icon=":material/edit:", key="turn_shorten"):
            turn_foot.open_edit(turn)
        st.button(
            "New conversation", icon=":material/add:", key="turn_new", on_click=st.session_state.update,
            args=({"chat_begin": True},),
        )  # fmt: skip


def _forget_button(request: TurnRequest, turn: Turn, least: int | None) -> None:
    which = "the oldest turns" if least is None else "the oldest turn" if least == 1 else f"the {least} oldest turns"
    hint = "As few as needed. They stay in the conversation, and are no longer sent."
    if st.button(
        f"Forget {which} and send again", icon=":material/content_cut:", key="turn_forget", type="primary", help=hint
    ):
        if least is None:
            st.toast("The model does not tell yet how long the conversation is: try again in a moment.")
            return
        request.again(turn, forget=least)


def _least(request: TurnRequest, turn: Turn) -> int | None:
    """The fewest turns to forget, found out in the background; None while unknown."""
    conversation, target = request.conversation, request.chosen.target
    room = int(request.options.get("max_tokens") or 100)

    def find() -> int:
        server = ui.servers().open(target) if isinstance(target, Version) else target
        for wanted in (room, 100, 1):  # less room for the answer before there is no answer at all
            found = count_turns_to_forget(
                conversation, server, request.system, turn.question, turn.parent, min(wanted, room)
            )
            if found is not None:
                return max(found, turn.forgot)
        tokens, context = count_tokens(conversation, server)
        if tokens is None or context is None:
            raise ServerError("The model does not tell how long the conversation is.")
        return _IMPOSSIBLE

    return reads.latest(find, patience=1.0, key=("forget", turn.id, target.ref, request.system, room)).value
