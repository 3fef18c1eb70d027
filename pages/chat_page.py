"""Chat: a conversation with any registered version."""

from typing import Any

import streamlit as st

from pages.components import turns, ui
from phi3core import chat, keys, registry
from phi3core.build import MAX_TOKENS
from phi3core.chat import Conversation
from phi3core.errors import BadInput, NotFound, Phi3Error
from phi3core.registry import Model, Reference, Version


def _choices(model: Model, listed: list[Version]) -> dict[str, str]:
    """References to choose from, with their labels: stages, aliases, then every version, newest first."""
    found = {}
    for alias, number in sorted(model.aliases.items()):
        label = keys.RESERVED_ALIASES.get(alias, f"@{alias}")
        found[str(Reference(model.name, alias=alias))] = f"{label}  →  /{number}"
    for version in listed:
        stage = "" if version.stage == "None" else f" · {version.stage}"
        found[version.ref] = f"/{version.version} · {version.wrapper or 'other'} {version.precision}{stage}"
    return found


def _default(model: Model, listed: list[Version]) -> str:
    """Production where there is one, else the newest ONNX version, else the newest."""
    if model.production:
        return f"{model.name}/Production"
    return next((v.ref for v in listed if v.wrapper == "onnx"), listed[0].ref)


def _follow_link() -> None:
    """A reference in the address that is not the boxes' own brought us here: it wins over them."""
    asked = st.query_params.get("ref", "")
    if not asked or (st.session_state.get("chat_shown") == asked and "chat_ref" in st.session_state):
        return
    try:
        reference = registry.split(asked)
    except BadInput as error:
        ui.show_warning(str(error))
        return
    st.session_state["chat_model"], st.session_state["chat_ref"] = reference.name, str(reference)


def _pick() -> Version:
    """The version to talk to, from the address or the two boxes."""
    models = {model.name: model for model in ui.models() if model.newest}
    if not models:
        st.info("There is no version to talk to yet. Build one first.", icon=":material/chat:")
        st.page_link("pages/build_page.py", label="Build a version", icon=":material/construction:")
        st.stop()
    _follow_link()
    chosen_for_them = st.session_state.get("chat_model") not in models
    if chosen_for_them:
        if missing := st.session_state.get("chat_model"):
            ui.show_warning(f"There is no registered model “{missing}”. Choose one of these.")
        in_production = [name for name, model in models.items() if model.production]
        st.session_state["chat_model"] = (in_production or list(models))[0]
    left, right = st.columns([2, 3])
    name = left.selectbox("Model", list(models), key="chat_model")
    listed = ui.versions(name)
    choices = _choices(models[name], listed)
    if st.session_state.get("chat_ref") not in choices:
        missing = st.session_state.get("chat_ref", "")
        if missing.startswith((f"{name}/", f"{name}@")):
            ui.show_warning(f"{missing} is not there (any more). Choose another version.")
        st.session_state["chat_ref"] = _default(models[name], listed)
        if chosen_for_them:
            st.session_state["chat_first"] = st.session_state["chat_ref"]
    ref = right.selectbox("Version", list(choices), format_func=lambda r: choices.get(r, r), key="chat_ref")
    return registry.resolve(ui.config(), ref)


def _conversation() -> Conversation:
    """The one in the address, so that a reload finds it; else this visit's last one, unless a link asks for another
    version; else a new one.
    """
    wanted = st.query_params.get("c", "")
    linked = st.query_params.get("ref", "") not in ("", st.session_state.get("chat_shown", ""))
    if not wanted and not linked:
        wanted = st.session_state.get("chat_conversation", "")
    if wanted:
        try:
            return chat.load(ui.config(), ui.servers(), wanted)
        except (NotFound, BadInput) as error:
            ui.show_warning(str(error))
    return _new()


def _new() -> Conversation:
    return chat.keep(Conversation(ui.config(), ui.servers()))


def _parameters(version: Version, conversation: Conversation) -> tuple[str, dict[str, Any]]:
    """The system prompt and the generation options, from the sidebar.

    They start as the conversation had them last, else at the version's own defaults.
    """
    own = ui.detail(version).options
    key = f"chat_%s_{version.ref}"  # each version starts at its own defaults
    if "chat_system" not in st.session_state or st.session_state.get("chat_seeded") != conversation.id:
        st.session_state["chat_seeded"] = conversation.id
        if conversation.turns:
            last = conversation.turns[-1]
            st.session_state["chat_system"] = last.system
            own = own | last.options

    def start(name: str, otherwise: float, low: float, high: float) -> float:
        return min(max(float(own.get(name) or otherwise), low), high)

    with st.sidebar:
        system = st.text_area("System prompt", key="chat_system", placeholder="the model's own", height=100)
        st.caption(f"Generation · each version starts at its own defaults, here {version.ref}")
        options: dict[str, Any] = {
            "temperature": st.slider(
                "Temperature", 0.0, 2.0, min(max(float(own.get("temperature", 0.2)), 0.0), 2.0), 0.05,
                key=key % "temperature", help="0 always takes the likeliest token.",
            ),
            "top_p": st.slider("Top p", 0.01, 1.0, start("top_p", 0.9, 0.01, 1.0), 0.01, key=key % "top_p"),
            "max_tokens": st.number_input(
                "Longest answer, in tokens", 1, MAX_TOKENS, int(start("max_tokens", 300, 1, MAX_TOKENS)),
                key=key % "max_tokens",
            ),
            "repetition_penalty": st.slider(
                "Repetition penalty", 0.1, 2.0, start("repetition_penalty", 1.0, 0.1, 2.0), 0.05, key=key % "penalty"
            ),
            "seed": st.number_input("Seed", 0, 2**31 - 1, _seed(own), placeholder="random", key=key % "seed"),
        }  # fmt: skip
        written = ", ".join(own.get("stop") or [])
        stop = st.text_input("Stop sequences", written, placeholder="separated by commas", key=key % "stop")
        options["stop"] = [part.strip() for part in stop.split(",") if part.strip()] or None
    return system, options


def _seed(own: dict[str, Any]) -> int | None:
    """The seed, where it is one: -1 is how a logged version says that there is none."""
    seed = own.get("seed")
    return int(seed) if seed is not None and 0 <= int(seed) < 2**31 else None


st.title("Chat")
st.caption("Talk to any registered version; answers stream as the model writes them.")

# What was just sent is kept until it is asked: whatever goes wrong before that, it comes back into its box.
if sent := st.session_state.get("chat_input"):
    st.session_state["chat_draft"] = sent

with ui.told():
    version = _pick()
    conversation = _conversation()
    system, options = _parameters(version, conversation)

with st.container(horizontal=True, vertical_alignment="center"):
    badge = ui.stage_badge(version.stage) if version.stage != "None" else ""
    st.markdown(f"{ui.wrapper(version.wrapper)} **{version.ref}** {badge} {ui.alias_badges(version)}")
    st.space("stretch")
    if st.button("New conversation", icon=":material/add:", key="chat_new", disabled=not conversation.turns):
        st.session_state["chat_conversation"] = _new().id
        st.query_params.pop("c", None)
        st.rerun()

if not conversation.turns:
    st.caption("Write a message below. The first answer opens the version, which takes a few seconds.")
    if version.name == keys.DEMO_MODEL:
        st.info(ui.EMBEDDED_NOTE, icon=":material/info:")

if not sent and not conversation.running and "chat_draft" in st.session_state:
    st.session_state["chat_input"] = st.session_state.pop("chat_draft")
problem = ""
if question := st.chat_input("Message", key="chat_input", disabled=conversation.running):
    try:
        conversation.ask(version, question, system, options)
        st.session_state.pop("chat_draft", None)
    except Phi3Error as error:
        problem = str(error)  # shown below the conversation, where the reader is

# The address: a reload finds the conversation, once there is something to find.
st.session_state["chat_conversation"] = conversation.id
st.session_state["chat_shown"] = st.session_state["chat_ref"]
first = st.session_state.get("chat_first")
address = {"ref": st.session_state["chat_ref"]} | ({"c": conversation.id} if conversation.turns else {})
# Not the page's own first choice, though: that would take a second Back to leave.
if (
    conversation.turns or st.query_params or st.session_state["chat_ref"] != first
) and st.query_params.to_dict() != address:
    st.query_params.from_dict(address)
if question and conversation.running:
    st.rerun()  # so that the box is closed while the answer comes

for at, turn in enumerate(conversation.turns[:-1]):
    turns.show(turn, at)
if conversation.turns:
    with ui.told():
        turns.show_last(conversation, version, system, options)
if problem:
    ui.show_error(problem)
