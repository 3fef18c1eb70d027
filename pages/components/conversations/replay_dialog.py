"""The dialog that asks a conversation once more: with the version that answered, or another one."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import reads, store_reads, ui
from pages.components.shared.escape import short
from phi3core.chat import replay
from phi3core.chat.conversation import Conversation
from phi3core.chat.replay import Replay
from phi3core.chat.target import find_target
from phi3core.endpoints.config import Endpoint, load_endpoints
from phi3core.errors import NotFound, Phi3Error
from phi3core.registry.models import Model

_PAGE, _COMPARE = "pages/conversations_page.py", "pages/compare_page.py"


@st.dialog("Replay", icon=":material/replay:")
def show(conversation: Conversation) -> None:
    """Start a replay, with the version that answered or another one."""
    count = len(conversation.path)
    st.markdown(f"**{short(conversation.title)}**")
    asked = "Its question is asked again, with" if count == 1 else f"Its {count} questions are asked again, each with"
    st.markdown(f"{asked} its recorded history, parameters and seed. The answers become a conversation of their own.")
    with ui.stop_on_error():
        ref = _pick(conversation)
    blind = st.toggle(
        "Vote on the answers", key="replay_blind", disabled=not ui.person().may("reviewer"),
        help="They are shown one pair after the other, and whose they are once you have voted.",
    )  # fmt: skip
    if st.button("Start", type="primary", icon=":material/replay:", key="replay_start", width="stretch"):
        try:
            started = reads.wait_for("Starting …", _start, conversation, ref, ui.person().name)
        except Phi3Error as error:
            ui.show_error(str(error))
            return
        st.switch_page(_COMPARE if blind else _PAGE, query_params={"replay": started.conversation.id})


def _start(conversation: Conversation, ref: str, user: str) -> Replay:
    return replay.start(conversation, find_target(ui.config(), ref), asked_ref=ref, user=user)


def _pick(conversation: Conversation) -> str:
    """A version reference or an endpoint's; the one that answered last comes first."""
    recorded = conversation.ref
    models = {model.name: model for model in store_reads.models() if model.newest}
    endpoints = _endpoints()
    options = [*models, *endpoints]
    if not options:
        raise NotFound("There is no version to replay it with: build one first.")
    own = recorded if recorded in endpoints else recorded.rpartition("/")[0]
    start = options.index(own) if own in options else 0
    left, right = st.columns(2)
    name = left.selectbox(
        "Model", options, start, format_func=lambda o: o.removeprefix("endpoint:") if o in endpoints else o,
        key=f"replay_model_{conversation.id}",
    )  # fmt: skip
    if name in endpoints:
        right.caption("A remote endpoint: what is asked leaves this machine.")
        return name
    numbers = {v.ref: f"/{v.version} · {v.wrapper or 'other'} {v.precision}" for v in store_reads.versions(name)}
    labels = _named(models[name]) | numbers
    refs = list(labels)
    at = refs.index(recorded) if recorded in refs else 0

    def label(ref: str) -> str:
        return labels.get(ref, ref) + (" · as recorded" if ref == recorded else "")

    return right.selectbox(
        "Version", refs, at, format_func=label, key=f"replay_version_{conversation.id}_{name}"
    )  # fmt: skip


def _named(model: Model) -> dict[str, str]:
    """References by stage and alias, with their labels."""
    return {
        ref: f"{ref.removeprefix(model.name).removeprefix('/')}  →  /{number}"
        for ref, number in model.references.items()
    }


def _endpoints() -> dict[str, Endpoint]:
    """The remote endpoints by their references."""
    return {endpoint.ref: endpoint for endpoint in load_endpoints(ui.config())}
