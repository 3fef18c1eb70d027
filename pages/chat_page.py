"""Chat: a conversation with any registered version, or with an endpoint elsewhere."""

from contextlib import suppress

import streamlit as st

from pages.components.chat import (
    browser,
    code_snippets,
    composer,
    parameters,
    predict,
    recent_conversations,
    server_state,
    target,
    turn_foot,
    turns,
)
from pages.components.chat.turn_foot import TurnRequest
from pages.components.conversations import conversation_menu
from pages.components.shared import reads, ui
from pages.components.shared.escape import as_code, short
from phi3core import tags
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import add_conversation, load_conversation
from phi3core.errors import BadInput, NotFound, Phi3Error, StoreDown

_FIRST = " The first answer opens the version, which takes a few seconds."
_ELSEWHERE = " It is sent to the address above, with everything said before it."


def _conversation() -> Conversation:
    """The conversation in the address, so that a reload finds it, or another one.

    Without one in the address: this visit's last, unless a link asks for another version; else a new one.
    """
    if st.session_state.pop("chat_begin", False):
        st.query_params.pop("c", None)
        return _new()
    wanted = st.query_params.get("c", "")
    linked = st.query_params.get("ref", "") not in ("", st.session_state.get("chat_shown", ""))
    if not wanted and not linked:
        wanted = st.session_state.get("chat_conversation", "")
    if wanted:
        try:
            found = reads.wait_for(
                "Reading the conversation …", load_conversation, ui.config(), ui.servers(), wanted, me
            )
            _follow_address(found)
            return found
        except (NotFound, BadInput) as error:
            ui.show_warning(str(error))
    return _new()


def _follow_address(conversation: Conversation) -> None:
    """A link, a reload and the browser's Back show the answers that were selected then."""
    turn = st.query_params.get("turn", "")
    if "c" in st.query_params and turn != st.session_state.get("chat_turn", ""):
        with suppress(NotFound):
            conversation.select(turn)


def _new() -> Conversation:
    made = add_conversation(Conversation(ui.config(), ui.servers(), user=me.name))
    st.session_state["chat_conversation"] = made.id
    return made


def _address(conversation: Conversation, asked: str) -> None:
    """A reload finds the conversation, once there is something to find."""
    st.session_state["chat_conversation"] = conversation.id
    st.session_state["chat_shown"] = asked
    st.session_state["chat_turn"] = turn = conversation.selected
    address = {"ref": asked} | ({"c": conversation.id} if conversation.path else {}) | ({"turn": turn} if turn else {})
    # Not the page's own first choice, though: that would take a second Back to leave.
    chosen = conversation.path or st.query_params or asked != st.session_state.get("chat_first")
    if chosen and st.query_params.to_dict() != address:
        st.query_params.from_dict(address)


def _show_heading(conversation: Conversation) -> None:
    if conversation.path:
        st.markdown(f"**{short(conversation.title)}**")
    else:
        st.caption("Talk to any registered version; answers stream as the model writes them.")


me = ui.person()
st.title("Chat", anchor=False)
heading, beside = st.empty(), st.sidebar.container()
composer.keep_draft()

with ui.stop_on_error():
    conversation = _conversation()
    with heading:
        _show_heading(conversation)
    try:
        chosen = target.pick(conversation)
        st.session_state["chat_last"] = (conversation.id, chosen)
    except StoreDown as error:
        chosen = target.last(conversation, error)
    state = server_state.read(chosen)
    system, options = parameters.show(chosen, conversation, state)

# Before anything of the page is drawn that it changes; it stands at the bottom all the same.
problem = ""
if state.chat != "none":
    try:
        if message := composer.show(chosen, conversation, state, system):
            conversation.ask(
                chosen.target, message.text, system, options, raw=message.raw, schema=message.schema,
                asked_ref=chosen.asked, user=me.name,
            )  # fmt: skip
            composer.clear(message)
    except Phi3Error as error:
        problem = str(error)  # shown below the conversation, where the reader is

with st.container(horizontal=True, vertical_alignment="center"):
    st.markdown(ui.target_line(chosen.version, chosen.endpoint))
    st.space("stretch")
    begin = {"chat_begin": True}
    st.button(
        "New conversation", icon=":material/add:", key="chat_new", disabled=not conversation.path,
        on_click=st.session_state.update, args=(begin,),
    )  # fmt: skip
    conversation_menu.menu(conversation)
    if chosen.version is not None:
        code = st.popover("Code", icon=":material/terminal:", type="tertiary", key="chat_code", on_change="rerun")
        if code.open:  # the whole conversation, three times
            with code:
                code_snippets.show_conversation(conversation, chosen, system, options, state.chat == "prompt")
server_state.show(chosen, conversation)

if chosen.moved:
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        now = f":material/move_up: {as_code(chosen.asked)} is now **{short(chosen.moved)}**"
        st.markdown(f"{now}; this conversation talks to {short(chosen.ref)}.")
        st.button(
            "Follow", icon=":material/arrow_forward:", key="chat_follow", on_click=target.follow,
            args=(conversation, chosen.moved), help=f"From the next message on, {short(chosen.moved)} answers.",
        )  # fmt: skip

if not conversation.path and state.chat != "none":
    st.caption("Write a message below." + ("" if state.open else _FIRST if chosen.version else _ELSEWHERE))
    if chosen.version is not None and chosen.version.name == tags.DEMO_MODEL:
        st.info(ui.EMBEDDED_NOTE, icon=":material/info:")

_address(conversation, chosen.asked)
with ui.stop_on_error():
    turns.show_all(TurnRequest(conversation, chosen, system, options))
if problem:
    ui.show_error(problem)
if state.chat == "none":
    predict.show(chosen, state)
browser.focus_composer(once=conversation.id)
browser.name_buttons(turn_foot.NAMES | recent_conversations.NAMES)
with beside:  # last: the chat does not wait for it
    recent_conversations.show(conversation)
