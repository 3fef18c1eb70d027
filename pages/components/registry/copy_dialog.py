"""The dialog that copies a version: where to, what goes along, how far it is."""

from __future__ import annotations

import time
from concurrent.futures import Future

import streamlit as st

from pages.components.shared import dialogs, reads, ui
from pages.components.shared.escape import escape, short
from phi3core.errors import Phi3Error
from phi3core.promotion.copy import Copied, copy_version
from phi3core.promotion.copy_targets import load_targets
from phi3core.registry.models import Version

_HERE, _THERE = "This store", "Another tracking server"


class _Progress:
    """How far a copy is, as its thread last reported."""

    def __init__(self) -> None:
        self.share, self.text = 0.0, "Starting"

    def __call__(self, share: float, text: str) -> None:
        self.share, self.text = share, text


@st.dialog("Copy a version", icon=":material/content_copy:")
def show(version: Version) -> None:
    if under_way := st.session_state.get("copy_under_way"):
        _follow(*under_way)
        return
    where = st.segmented_control(
        "To", [_HERE, _THERE], default=_HERE, required=True, key="copy_where", label_visibility="collapsed"
    )
    to = ""
    if where == _THERE:
        to = _server()
    default = version.name if where == _THERE else ""
    name = st.text_input(
        "Registered model", default, placeholder="phi3-edge", key=f"copy_name_{where}", help="Made where there is none."
    ).strip()
    dialogs.bullets(_consequences(version, name, to, where == _THERE))
    reason = dialogs.reason_input("copy_reason", version.ref)
    ready = bool(name) and (where == _HERE or bool(to))
    if st.button("Copy", type="primary", disabled=not ready, key="copy_confirm", width="stretch"):
        progress = _Progress()
        config, person = ui.config(), ui.person()
        future = reads.start(copy_version, config, version.ref, name, person, to, reason, progress)
        st.session_state["copy_under_way"] = (version.ref, future, progress)
        _follow(version.ref, future, progress)


def _server() -> str:
    """The name of one of the servers that a version may be copied to; "" where there is none."""
    try:
        names = sorted(load_targets(ui.config()))
    except Phi3Error as error:
        ui.show_error(str(error))
        return ""
    if not names:
        st.info(
            "There is no other server that versions may be copied to. An admin names each in the secrets file, as "
            "[copy.NAME] with its uri and credentials.",
            icon=":material/lock:",
        )
        return ""
    return str(st.selectbox("Server", names, key="copy_to"))


def _consequences(version: Version, name: str, to: str, far: bool) -> list[str]:
    target = f"a new version of {short(name)}" if name else "a new version"
    if not far:
        return [
            f"{short(version.ref)} becomes {target} as well. Both share the same files: nothing is sent.",
            "Description and tags go along, and tags that say where it came from. Stage and aliases do not, nor do "
            "tags that the other model's policy asks for.",
        ]
    size = f" ({ui.size(version.size)})" if version.size else ""
    host = short(to) if to else "the other server"
    return [
        f"The files{size}, metrics and parameters go to {host}; when all is there, they are registered as {target}.",
        "Description and tags go along, and tags that say where it came from. Stage, aliases and conversations do not, "
        "nor do tags that a policy there asks for.",
        "It goes on when this is closed.",
    ]


def _follow(ref: str, future: Future[Copied], progress: _Progress) -> None:
    """Show how far it is until it has ended. A click elsewhere ends only this, not the copy."""
    bar = st.empty()
    while not future.done():
        bar.progress(min(max(progress.share, 0.0), 1.0), escape(f"{progress.text} …"))
        time.sleep(0.2)
    bar.empty()
    st.session_state.pop("copy_under_way", None)
    reads.invalidate()
    try:
        copied = future.result()
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    st.session_state.pop("copy_reason_about", None)
    place = f" at {copied.uri}" if copied.uri else ""
    dialogs.set_result(f"{ref} is copied: the copy is {copied.ref}{place}.")
    st.rerun()
