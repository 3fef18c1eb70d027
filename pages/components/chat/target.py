"""The model of a conversation: a registered version or an endpoint, chosen by the address or in two boxes."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from pages.components.shared import reads, store_reads, ui
from phi3core.chat.conversation import Conversation
from phi3core.chat.target import find_moved_version
from phi3core.endpoints.config import Endpoint, load_endpoints
from phi3core.errors import BadInput, NotFound, Phi3Error, StoreDown
from phi3core.registry.models import Model, Version
from phi3core.registry.reference import parse_reference

_ELSEWHERE = "endpoint:"


@dataclass(frozen=True)
class Selection:
    """The version or endpoint to ask.

    asked: how it was chosen, such as ``phi3/Production``. moved: the version that this means by now, where the
    conversation goes on with the one it began with.
    """

    target: Version | Endpoint
    asked: str
    moved: str = ""

    @property
    def version(self) -> Version | None:
        return self.target if isinstance(self.target, Version) else None

    @property
    def endpoint(self) -> Endpoint | None:
        return None if isinstance(self.target, Version) else self.target

    @property
    def ref(self) -> str:
        return str(self.target.ref)


def pick(conversation: Conversation) -> Selection:
    """Draw the boxes. Ends the page where there is no model to talk to."""
    models, endpoints = _models(), _endpoints()
    if not models and not endpoints and not (models := _models(anew=True)):
        st.info("There is no version to talk to yet. Build one first.", icon=":material/chat:")
        st.page_link("pages/build_page.py", label="Build a version", icon=":material/construction:")
        st.stop()
    _follow_link(conversation)
    wanted = st.session_state.get("chat_model") or ""
    if wanted not in models and wanted and not wanted.startswith(_ELSEWHERE):
        models = _models(anew=True)  # it may have been registered a moment ago
    names = [*models, *endpoints]
    chosen_by_page = st.session_state.get("chat_model") not in names
    if chosen_by_page:
        if missing := st.session_state.get("chat_model"):
            ui.show_warning(_missing(missing))
        in_production = [name for name, model in models.items() if model.production]
        st.session_state["chat_model"] = (in_production or names)[0]
    left, right = st.columns([2, 3])
    name = left.selectbox("Model", names, format_func=_label, key="chat_model")
    if name in endpoints:
        endpoint = endpoints[name]
        right.text_input("Address", endpoint.url, disabled=True, key=f"chat_url_{endpoint.name}")
        return Selection(endpoint, name)
    asked = _pick_version(conversation, *_listed(models[name]), right, chosen_by_page)
    return _pinned(conversation, asked)


def last(conversation: Conversation, error: StoreDown) -> Selection:
    """The model that a conversation under way last talked to, while the store is away. Raises the error again.

    A version whose model server is open, or an endpoint, needs no store to answer.
    """
    known: tuple[str, Selection] | None = st.session_state.get("chat_last")
    if known is None or known[0] != conversation.id or not conversation.path:
        raise error
    chosen = known[1]
    if chosen.version is not None and chosen.ref not in [server.ref for server in ui.servers().servers()]:
        raise error
    ui.show_warning(f"{error} This conversation goes on with {chosen.ref}, as it was last known.")
    ui.rerun_when_store_answers()
    return chosen


def _models(anew: bool = False) -> dict[str, Model]:
    """The models that have a version, by name. anew: what was read lately won't do."""
    return {model.name: model for model in store_reads.models(anew) if model.newest}


def _listed(model: Model) -> tuple[Model, list[Version]]:
    """A model and its versions; read anew where the one that is asked for is not among those read lately."""
    asked, listed = st.session_state.get("chat_ref") or "", store_reads.versions(model.name)
    if not _is_of(asked, model.name) or asked in _choices(model, listed):
        return model, listed
    return _models(anew=True).get(model.name, model), store_reads.versions(model.name, anew=True)


def _is_of(ref: str, name: str) -> bool:
    return ref.startswith((f"{name}/", f"{name}@"))


def follow(conversation: Conversation, ref: str) -> None:
    """From now on the conversation talks to what its alias or stage means."""
    st.session_state["chat_followed"] = (conversation.id, ref)


def _endpoints() -> dict[str, Endpoint]:
    """The endpoints that the secrets file names; a mistake in it is shown, and the page goes on without them."""
    try:
        return {endpoint.ref: endpoint for endpoint in load_endpoints(ui.config())}
    except Phi3Error as error:
        ui.show_warning(str(error))
        return {}


def _label(name: str) -> str:
    return f"☁ {name.removeprefix(_ELSEWHERE)}" if name.startswith(_ELSEWHERE) else name


def _missing(name: str) -> str:
    if name.startswith(_ELSEWHERE):
        return f"There is no endpoint “{name.removeprefix(_ELSEWHERE)}” (any more). Choose one of these."
    return f"There is no registered model “{name}”. Choose one of these."


def _follow_link(conversation: Conversation) -> None:
    """Set the boxes, where the address asks for another reference than they show, or they show nothing yet.

    Without a reference in the address, a conversation that is opened goes on with the model that answered last.
    """
    asked = st.query_params.get("ref", "")
    shown = st.session_state.get("chat_shown", "")
    opened = st.session_state.get("chat_opened") != conversation.id
    st.session_state["chat_opened"] = conversation.id
    if not asked and opened and conversation.path:
        asked, shown = conversation.asked_ref or conversation.ref, ""
    if asked == shown and "chat_model" in st.session_state:
        return
    asked = asked or ("" if "chat_model" in st.session_state else shown)
    if not asked:
        return
    if asked.startswith(_ELSEWHERE):
        st.session_state["chat_model"] = asked
        return
    try:
        reference = parse_reference(asked)
    except BadInput as error:
        ui.show_warning(str(error))
        return
    st.session_state["chat_model"], st.session_state["chat_ref"] = reference.name, str(reference)


def _pick_version(
    conversation: Conversation,
    model: Model,
    listed: list[Version],
    column: st.delta_generator.DeltaGenerator,
    chosen_by_page: bool,
) -> str:
    choices = _choices(model, listed)
    if st.session_state.get("chat_ref") not in choices:
        missing = st.session_state.get("chat_ref") or ""
        # A conversation whose alias is gone goes on with the version it talked to.
        instead = conversation.ref if conversation.ref in choices else _default(model, listed)
        if _is_of(missing, model.name):
            ui.show_warning(f"{missing} is not there (any more): {instead} is chosen instead.")
        st.session_state["chat_ref"] = instead
        if chosen_by_page:
            st.session_state["chat_first"] = st.session_state["chat_ref"]
    return str(column.selectbox("Version", list(choices), format_func=lambda r: choices.get(r, r), key="chat_ref"))


def _choices(model: Model, listed: list[Version]) -> dict[str, str]:
    """References to choose from, with their labels: stages, aliases, then every version, newest first."""
    found = {
        ref: f"{ref.removeprefix(model.name).removeprefix('/')}  →  /{number}"
        for ref, number in model.references.items()
    }
    for version in listed:
        stage = "" if version.stage == "None" else f" · {version.stage}"
        about = f"{version.wrapper} {version.precision}".strip() or "not one of our wrappers"
        found[version.ref] = f"/{version.version} · {about}{stage}"
    return found


def _default(model: Model, listed: list[Version]) -> str:
    """Production where there is one, else the newest ONNX version, else the newest."""
    if model.production:
        return f"{model.name}/Production"
    return next((v.ref for v in listed if v.wrapper == "onnx"), listed[0].ref)


def _pinned(conversation: Conversation, asked: str) -> Selection:
    """The version that is meant; a conversation under way keeps the one it talks to when its alias moves on."""
    meant = store_reads.resolve(asked)
    if conversation.asked_ref != asked or st.session_state.get("chat_followed") == (conversation.id, meant.ref):
        return Selection(meant, asked)
    refs = conversation.asked_ref, conversation.ref
    moved = reads.wait_for("Reading the version …", find_moved_version, ui.config(), *refs)
    if not moved:
        return Selection(meant, asked)
    try:
        return Selection(store_reads.resolve(conversation.ref), asked, moved)
    except (NotFound, BadInput):
        ui.show_warning(f"{conversation.ref} was deleted: from the next message on, {meant.ref} answers.")
        return Selection(meant, asked)
