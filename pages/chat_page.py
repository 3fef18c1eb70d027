"""Chat: a conversation with any registered version."""

import streamlit as st

from pages.components import turns, ui
from phi3core import chat, keys, registry
from phi3core.errors import Phi3Error
from phi3core.registry import Model, Version


def _choices(model: Model, listed: list[Version]) -> dict[str, str]:
    """References to choose from, with their labels: stages, aliases, then every version, newest first."""
    found = {}
    for alias, number in sorted(model.aliases.items()):
        stage = keys.RESERVED_ALIASES.get(alias)
        found[f"{model.name}/{stage}" if stage else f"{model.name}@{alias}"] = f"{stage or f'@{alias}'}  →  /{number}"
    for version in listed:
        stage = "" if version.stage == "None" else f" · {version.stage}"
        found[version.ref] = f"/{version.version} · {version.wrapper or 'other'} {version.precision}{stage}"
    return found


def _default(model: Model, listed: list[Version]) -> str:
    """Production where there is one, else the newest ONNX version, else the newest."""
    if model.production:
        return f"{model.name}/Production"
    return next((v.ref for v in listed if v.wrapper == "onnx"), listed[0].ref)


def _pick() -> Version:
    """The version to talk to, from the address or the two boxes."""
    models = {model.name: model for model in ui.models() if model.newest}
    if not models:
        st.info("There is no version to talk to yet. Build one first.", icon=":material/chat:")
        st.page_link("pages/build_page.py", label="Build a version", icon=":material/construction:")
        st.stop()
    asked = st.query_params.get("ref", "")
    if asked and st.session_state.get("chat_asked") != asked:  # a link brought us here: it wins over the boxes
        st.session_state["chat_asked"] = asked
        try:
            st.session_state["chat_model"] = registry.split(asked).name
            st.session_state["chat_ref"] = asked
        except Phi3Error as error:
            st.warning(str(error), icon=":material/warning:")
    if st.session_state.get("chat_model") not in models:
        if missing := st.session_state.get("chat_model"):
            st.warning(f"There is no registered model “{missing}”. Choose one of these.", icon=":material/warning:")
        in_production = [name for name, model in models.items() if model.production]
        st.session_state["chat_model"] = (in_production or list(models))[0]
    left, right = st.columns([2, 3])
    name = left.selectbox("Model", list(models), key="chat_model")
    listed = ui.versions(name)
    choices = _choices(models[name], listed)
    if st.session_state.get("chat_ref") not in choices:
        missing = st.session_state.get("chat_ref", "")
        if missing.startswith((f"{name}/", f"{name}@")):
            st.warning(f"{missing} is not there (any more). Choose another version.", icon=":material/warning:")
        st.session_state["chat_ref"] = _default(models[name], listed)
    ref = right.selectbox("Version", list(choices), format_func=lambda r: choices.get(r, r), key="chat_ref")
    st.session_state["chat_asked"] = st.query_params["ref"] = ref
    return registry.resolve(ui.config(), ref)


def _conversation() -> chat.Conversation:
    """The one in the address, so that a reload finds it; else a new one."""
    wanted = st.query_params.get("c", "")
    if wanted:
        try:
            return chat.load(ui.config(), ui.servers(), wanted)
        except Phi3Error as error:
            st.warning(str(error), icon=":material/warning:")
    return chat.keep(chat.Conversation(ui.config(), ui.servers()))


def _parameters(version: Version) -> tuple[str, dict[str, object]]:
    """The system prompt and the generation options, from the sidebar. Starts at the version's own defaults."""
    own = ui.detail(version.ref).options
    with st.sidebar:
        system = st.text_area(
            "System prompt", key="chat_system", placeholder="You are a helpful assistant.", height=100
        )
        st.caption(f"Generation · defaults of {version.ref}")
        key = f"chat_%s_{version.ref}"  # each version starts at its own defaults
        options: dict[str, object] = {
            "temperature": st.slider(
                "Temperature", 0.0, 2.0, float(own.get("temperature", 0.2)), 0.05, key=key % "temperature",
                help="0 always takes the likeliest token.",
            ),
            "top_p": st.slider("Top p", 0.05, 1.0, float(own.get("top_p", 0.9)), 0.05, key=key % "top_p"),
            "max_tokens": st.number_input(
                "Longest answer, in tokens", 1, 100_000, int(own.get("max_tokens", 300)), key=key % "max_tokens"
            ),
            "repetition_penalty": st.slider(
                "Repetition penalty", 1.0, 2.0, float(own.get("repetition_penalty", 1.0)), 0.05, key=key % "penalty"
            ),
            "seed": st.number_input(
                "Seed", 0, 2**31 - 1, None, placeholder="random", key=key % "seed"
            ),
        }  # fmt: skip
        stop = st.text_input("Stop sequences", placeholder="separated by commas", key=key % "stop")
        options["stop"] = [part.strip() for part in stop.split(",") if part.strip()] or None
    return system, options


st.title("Chat")
st.caption("Talk to any registered version; answers stream as the model writes them.")

with ui.told():
    version = _pick()
    conversation = _conversation()
    system, options = _parameters(version)

with st.container(horizontal=True, vertical_alignment="center"):
    badge = ui.stage_badge(version.stage) if version.stage != "None" else ""
    st.markdown(f"{ui.wrapper(version.wrapper)} **{version.ref}** {badge} {ui.alias_badges(version)}")
    st.space("stretch")
    if st.button("New conversation", icon=":material/add:", key="chat_new", disabled=not conversation.turns):
        conversation = chat.keep(chat.Conversation(ui.config(), ui.servers()))
        st.query_params["c"] = conversation.id
        st.rerun()
st.query_params["c"] = conversation.id

if not conversation.turns:
    st.caption("Write a message below. The first answer opens the version, which takes a few seconds.")
    if version.name == keys.DEMO_MODEL:
        st.info(ui.EMBEDDED_NOTE, icon=":material/info:")

for at, turn in enumerate(conversation.turns[:-1]):
    turns.show(turn, at)
place = st.container()
question = st.chat_input("Message", key="chat_input", disabled=conversation.running)
try:
    if question:
        if conversation.turns:
            with place:
                turns.show(conversation.turns[-1], len(conversation.turns) - 1)
        conversation.ask(version, question, system, options)
    if conversation.turns:
        with place:
            turns.show_last(conversation, version)
except Phi3Error as error:
    ui.show_error(str(error))
