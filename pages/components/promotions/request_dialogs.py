"""The dialogs of a request: ask for a promotion, approve or reject it, take it back. None of them moves anything."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import dialogs, store_reads, ui
from pages.components.shared.escape import escape, short
from phi3core import tags
from phi3core.errors import Phi3Error
from phi3core.promotion.policy import requests
from phi3core.promotion.policy.request_status import Request
from phi3core.registry.models import Version

from . import checklist


@st.dialog("Ask for a promotion", icon=":material/front_hand:")
def ask_dialog(version: Version, listed: list[Version]) -> None:
    st.markdown(f"**{short(version.ref)}** is in {ui.version_stage(version)}")
    stages = [stage for stage in ("Production", "Staging") if stage != version.stage]
    stage = st.radio("It should move to", stages, horizontal=True, key="ask_stage")
    holder = next((v for v in listed if v.stage == stage and v.version != version.version), None)
    after = f", where it would follow {short(holder.ref)}" if holder else ""
    dialogs.bullets(
        [
            f"Nothing moves now: the request waits on Promotions until somebody moves it{after}, or rejects it.",
            "Approvals are bound to the files as they are: if the artifact changes, they count no more.",
        ]
    )
    _needs(version, stage)
    reason = dialogs.reason_input("ask_reason", f"{version.ref} {stage}", placeholder="What speaks for it")
    if st.button(f"Ask for {stage}", type="primary", key="ask_confirm", width="stretch"):
        dialogs.run(lambda: _ask(version, stage, reason), "ask_reason")


def _ask(version: Version, stage: str, reason: str) -> str:
    requests.ask(ui.config(), version.ref, stage, reason, ui.person())
    return f"{stage} is asked for {version.ref}. The request waits on the Promotions page."


def decide_dialog(request: Request, verdict: str) -> None:
    """verdict: “approve” or “reject”."""
    (_approve if verdict == "approve" else _reject)(request)


@st.dialog("Approve", icon=":material/thumb_up:")
def _approve(request: Request) -> None:
    _asked(request)
    dialogs.bullets([f"Your approval of {short(request.ref)} is recorded. It is bound to the artifact as it is now."])
    _needs_of(request)
    comment = dialogs.reason_input("decide_comment", f"approve {request.id}", "Comment", "What you looked at")
    if st.button(
        f"Approve {short(request.ref)} for {request.stage}", type="primary", key="decide_confirm", width="stretch"
    ):
        dialogs.run(lambda: _decide(request, "approve", comment), "decide_comment")


@st.dialog("Reject", icon=":material/thumb_down:")
def _reject(request: Request) -> None:
    _asked(request)
    dialogs.bullets(
        [
            f"{short(request.ref)} stays where it is, and the request is rejected as long as your word stands.",
            "You can change your mind: your latest decision counts.",
        ]
    )
    comment = dialogs.reason_input("decide_comment", f"reject {request.id}", "Comment", "What has to change")
    if st.button(
        f"Reject {short(request.ref)} for {request.stage}", type="primary", key="decide_confirm", width="stretch"
    ):
        if not comment:
            ui.show_warning("Say what has to change: whoever asked reads it.")
            return
        dialogs.run(lambda: _decide(request, "reject", comment), "decide_comment")


def _decide(request: Request, verdict: str, comment: str) -> str:
    requests.decide(ui.config(), request.id, verdict, comment, ui.person())
    done = "approved" if verdict == "approve" else "rejected"
    return f"{request.ref} is {done} for {request.stage}."


@st.dialog("Withdraw the request", icon=":material/undo:")
def withdraw_dialog(request: Request) -> None:
    _asked(request)
    dialogs.bullets(["The request and its approvals end. Nothing moves, and the record keeps both."])
    reason = dialogs.reason_input("withdraw_reason", request.id)
    if st.button("Withdraw", type="primary", key="withdraw_confirm", width="stretch"):
        dialogs.run(lambda: _withdraw(request, reason), "withdraw_reason")


def _withdraw(request: Request, reason: str) -> str:
    requests.withdraw(ui.config(), request.id, reason, ui.person())
    return f"The request for {request.ref} is withdrawn."


def _asked(request: Request) -> None:
    st.markdown(f"{short(request.by)} asks to move **{short(request.ref)}** to {ui.stage_badge(request.stage)}")
    if request.reason:
        st.markdown(escape(request.reason))


def _needs_of(request: Request) -> None:
    try:
        version = next((v for v in store_reads.versions(request.model) if v.version == request.version), None)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    if version is not None:
        _needs(version, request.stage)


def _needs(version: Version, stage: str) -> None:
    if stage not in tags.RESERVED_ALIASES.values():
        return
    try:
        checklist.show(checklist.read(version, stage), stage)
    except Phi3Error as error:
        ui.show_error(str(error))
