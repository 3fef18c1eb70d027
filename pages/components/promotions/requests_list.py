"""Requests for a promotion: who asks for what, who decided how, and what can be done with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from pages.components.registry import move_dialog
from pages.components.shared import store_reads, ui
from pages.components.shared.escape import escape, short
from phi3core.access.roles import Person
from phi3core.errors import NotFound, Phi3Error
from phi3core.promotion.policy.request_status import Request, same_person
from phi3core.registry.models import Version

from . import checklist, request_dialogs

_ENDED = 20
_COLORS = {"open": "blue", "approved": "green", "rejected": "red", "promoted": "green"}
_VERDICTS = {
    "approve": (":green[:material/thumb_up:]", "approves"),
    "reject": (":red[:material/thumb_down:]", "rejects"),
}


def page(listed: Sequence[Request], model: str) -> None:
    """The requests that wait, of one model or of all; of one model, also those that have ended."""
    mine = [request for request in listed if model in ("", request.model)]
    if mine:
        show(mine, link=True)
    else:
        of = f" of {short(model)}" if model else ""
        st.info(
            f"No request{of} waits. Whoever reviews a version can ask for its promotion on its page in the Registry; "
            "those who may decide find it here.",
            icon=":material/front_hand:",
        )
    if not model:
        return
    ended = [r for r in store_reads.requests_of(model) if not r.is_waiting]
    if ended:
        with st.expander(f"Ended · {len(ended)}", icon=":material/history:", key="requests_ended"):
            show(ended[:_ENDED], link=True)
            if len(ended) > _ENDED:
                st.caption(f"The newest {_ENDED}; the record has all of them.")


def show(listed: Sequence[Request], link: bool = False) -> None:
    """Each in a frame of its own, with the buttons that the person may press. link: to the version's page, too."""
    person = ui.person()
    for request in listed:
        with st.container(border=True, gap="xsmall", key=f"request_{request.id}"):
            _head(request)
            _decisions(request)
            if request.is_decidable:
                _evidence(request)
                _buttons(request, person, link)


def _head(request: Request) -> None:
    badge = f":{_COLORS.get(request.status, 'gray')}-badge[{request.status}]"
    st.markdown(f"**{short(request.ref)}** → {ui.stage_badge(request.stage)} {badge}")
    if request.reason:
        st.markdown(escape(request.reason))
    digest = f" · files {short(request.digest[:12])}" if request.digest else ""
    st.caption(f"Asked by {short(request.by)} {ui.ago(request.when)}{digest}")
    if request.why:
        st.markdown(f":orange[:material/info:] {short(request.why, 500)}")


def _decisions(request: Request) -> None:
    for decision in request.decisions:
        icon, verb = _VERDICTS[decision.verdict]
        comment = f": {short(decision.comment, 500)}" if decision.comment else ""
        verb += " their own request" if same_person(decision.by, request.by) else ""
        void = "" if decision.valid else " :orange[counts no more]"
        st.markdown(f"{icon} **{short(decision.by)}** {verb}{comment}{void} :gray[{ui.ago(decision.when)}]")


def _evidence(request: Request) -> None:
    """Read when it is opened: a list of requests must not read every version's reviews."""
    box = st.expander(
        f"What {request.stage} needs", icon=":material/checklist:", type="compact", on_change="rerun",
        key=f"request_policy_{request.id}",
    )  # fmt: skip
    if box.open:
        with box:
            try:
                version, _ = _found(request)
                checklist.show(checklist.read(version, request.stage), request.stage)
            except Phi3Error as error:
                ui.show_error(str(error))


def _buttons(request: Request, person: Person, link: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if person.may("releaser") and request.status != "rejected":
            kind: Literal["primary", "secondary"] = "primary" if request.status == "approved" else "secondary"
            label = f"Move to {request.stage}"
            if st.button(label, icon=":material/verified:", type=kind, key=f"request_promote_{request.id}"):
                _promote(request)
        if person.may("reviewer"):
            if st.button("Approve", icon=":material/thumb_up:", key=f"request_approve_{request.id}"):
                request_dialogs.decide_dialog(request, "approve")
            if st.button("Reject", icon=":material/thumb_down:", key=f"request_reject_{request.id}"):
                request_dialogs.decide_dialog(request, "reject")
        if same_person(request.by, person.name) or person.may("admin"):
            key = f"request_withdraw_{request.id}"
            if st.button("Withdraw", icon=":material/undo:", key=key, type="tertiary"):
                request_dialogs.withdraw_dialog(request)
        if link:
            query = {"model": request.model, "version": str(request.version)}
            st.page_link("pages/registry_page.py", label="Open", icon=":material/inventory_2:", query_params=query)


def _promote(request: Request) -> None:
    try:
        version, listed = _found(request)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    move_dialog.show(version, listed, request.stage, request.id)


def _found(request: Request) -> tuple[Version, list[Version]]:
    listed = store_reads.versions(request.model)
    for version in listed:
        if version.version == request.version:
            return version, listed
    raise NotFound(f"{request.ref} is gone: it was deleted. Withdraw the request.")
