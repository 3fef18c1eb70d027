"""The dialogs that move a version or its aliases: each says exactly what will happen before it does."""

from __future__ import annotations

import streamlit as st

from pages.components.promotions import checklist
from pages.components.shared import dialogs, ui
from pages.components.shared.escape import literal, short
from phi3core import tags
from phi3core.errors import Phi3Error
from phi3core.promotion.aliases import HELD
from phi3core.promotion.policy.policy import Check
from phi3core.promotion.promote import delete_alias, promote, set_alias
from phi3core.registry.models import Version
from phi3core.store.client import find_abilities

from . import plan_view

_ORDER = ("Production", "Staging", "Archived", "None")
_BECOMES = {"Archived": "Archived", "None": "None, in no stage"}


@st.dialog("Move to a stage", icon=":material/verified:", width="medium")
def move_dialog(version: Version, listed: list[Version], stage: str = "", request: str = "") -> None:
    """stage: where it is to begin with. request: the id of the request that this carries out."""
    try:
        version, listed = _as_now(version, listed)
        stages = _stages(version)
        st.markdown(f"**{short(version.ref)}** is in {ui.stage_badge(version.stage)}")
        start = stages.index(stage) if stage in stages else 0
        target = st.radio("Move it to", stages, start, horizontal=True, key="move_stage")
        old = _becomes(version, target, listed)
        plan = plan_view.of(version, target, listed, old)
        lines = plan_view.show(plan)
        checks = checklist.of(version, target) if target in HELD else []
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    unmet = [check for check in checks if not check.met]
    if checks:
        checklist.show(checks, target)
    reason = dialogs.reason("move_reason", f"{version.ref} {target}")
    override = _override(version, target, checks) if unmet else ""
    label = f"Move to {target} against the policy" if unmet and override is not None else f"Move to {target}"
    pressed = st.button(label, type="primary", disabled=override is None, key="move_confirm", width="stretch")
    if dialogs.still_true("move_shown", f"{version.ref} {target}", lines, pressed):
        if unmet and not override:
            ui.show_warning("Say why it moves although the policy is not met: that is recorded.")
            return
        texts = {"reason": reason, "override": override or "", "request": request}
        dialogs.do(lambda: _move(version.ref, target, old, **texts), "move_reason", "move_override")


def _move(ref: str, stage: str, old: str, *, reason: str, override: str, request: str) -> str:
    done = promote(
        ui.config(), ref, stage, reason, ui.person(), old=old, override=override, request=request
    )  # fmt: skip
    return f"{done.version.ref} is now in {done.stage}.{plan_view.left(done)}"


def _as_now(version: Version, listed: list[Version]) -> tuple[Version, list[Version]]:
    """The version as it is at this moment: a dialog may stay open for long. One that is gone stays as it was."""
    listed = ui.versions(version.name) or listed
    return next((now for now in listed if now.version == version.version), version), listed


def _stages(version: Version) -> list[str]:
    # A stage without its alias is none of ours: moving it to where it seems to be gives it the alias.
    settled = version.stage not in HELD or version.stage.lower() in version.aliases
    known = find_abilities(ui.config()).stages
    return [
        stage for stage in _ORDER if (stage != version.stage or not settled) and (known or stage != "Archived")
    ]  # fmt: skip


def _becomes(version: Version, target: str, listed: list[Version]) -> str:
    """What whoever leaves becomes: asked only where somebody leaves and there is a choice."""
    leaving = plan_view.of(version, target, listed).leaving
    if not leaving or not find_abilities(ui.config()).stages:
        return "Archived"
    who = " and ".join(short(one.ref) for one in leaving)
    return st.segmented_control(
        f"{who} leaves {target} and becomes", list(_BECOMES), required=True, default="Archived",
        format_func=lambda old: _BECOMES[old], key="move_old",
    )  # fmt: skip


def _override(version: Version, target: str, checks: list[Check]) -> str | None:
    """An admin's reason for going on, "" while there is none; None for who may not."""
    unmet = sum(not check.met for check in checks)
    verb = "is" if unmet == 1 else "are"
    if not ui.person().may("admin"):
        st.caption(f":material/lock: {unmet} of {len(checks)} {verb} not met. Only an admin can go on, with a reason.")
        return None
    return dialogs.reason(
        "move_override", f"{version.ref} {target}", f"{unmet} of {len(checks)} {verb} not met: why go on?",
        "Kept on the record, with the policy as it is now",
    )  # fmt: skip


@st.dialog("Aliases", icon=":material/alternate_email:")
def aliases_dialog(version: Version, listed: list[Version]) -> None:
    try:
        version, listed = _as_now(version, listed)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    st.markdown(f"An alias points at one version. **{short(version.ref)}** has {ui.alias_badges(version) or 'none'}.")
    # It is read while it is typed, so that the button that waits for it can be pressed at once.
    typed = st.text_input("Set an alias", placeholder="champion", key="alias_name", live=True)
    alias = typed.strip().removeprefix("@")
    holder = next((v for v in listed if alias in v.aliases and v.version != version.version), None)
    if alias:
        leaves = f"leaves {short(holder.ref)} and " if holder else ""
        st.markdown(f"- {ui.code('@' + alias)} {leaves}points at {short(version.ref)} from then on.")
    reason = dialogs.reason("alias_reason", version.ref)
    if st.button("Set alias", type="primary", disabled=not alias, key="alias_set", width="stretch"):
        dialogs.do(lambda: _set(version, alias, reason), "alias_reason")
    for own in version.aliases:
        if own in tags.RESERVED_ALIASES:
            continue
        st.markdown(f"- Without @{literal(own)}, whoever asks for {short(version.name)}@{literal(own)} gets an error.")
        label = f"Remove @{literal(own)}"
        if st.button(label, icon=":material/delete:", key=f"alias_remove_{own}", width="stretch"):
            dialogs.do(lambda own=own: _remove(version, own, reason), "alias_reason")


def _set(version: Version, alias: str, reason: str) -> str:
    set_alias(ui.config(), version.ref, alias, reason, ui.person())
    return f"@{alias} now points at {version.ref}."


def _remove(version: Version, alias: str, reason: str) -> str:
    delete_alias(ui.config(), version.name, alias, reason, ui.person())
    return f"@{alias} is removed."
