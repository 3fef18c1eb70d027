"""The dialog that moves a version to a stage: it says exactly what will happen before it does."""

from __future__ import annotations

import streamlit as st

from pages.components.promotions import checklist
from pages.components.shared import dialogs, ui
from pages.components.shared.escape import short
from phi3core.errors import Phi3Error
from phi3core.promotion.aliases import EXCLUSIVE_STAGES
from phi3core.promotion.policy.policy import Check
from phi3core.promotion.promote import promote
from phi3core.registry.models import Version
from phi3core.store.client import find_abilities
from phi3core.text import join_words

from . import plan_view

_ORDER = ("Production", "Staging", "Archived", "None")
_BECOMES = {"Archived": "Archived", "None": "None, in no stage"}


@st.dialog("Move to a stage", icon=":material/verified:", width="medium")
def show(version: Version, listed: list[Version], stage: str = "", request: str = "") -> None:
    """stage: the one that is chosen at first. request: the id of the request that this carries out."""
    try:
        version, listed = plan_view.as_now(version, listed)
        stages = _stages(version)
        st.markdown(f"**{short(version.ref)}** is in {ui.version_stage(version)}")
        start = stages.index(stage) if stage in stages else 0
        target = st.radio("Move it to", stages, start, horizontal=True, key="move_stage")
        old = _becomes(version, target, listed)
        plan = plan_view.plan(version, target, listed, old)
        broken = plan_view.breaks(plan)
        lines = plan_view.show(plan, broken)
        checks = checklist.read(version, target) if target in EXCLUSIVE_STAGES else []
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    unmet = [check for check in checks if not check.met]
    if checks:
        checklist.show(checks, target)
    reason = dialogs.reason_input("move_reason", f"{version.ref} {target}")
    override = _override(version, target, checks) if unmet else ""
    agreed = not broken or st.checkbox("Move it although programs break", key=f"move_break_{version.ref}_{target}")
    label = f"Move to {target} against the policy" if unmet and override is not None else f"Move to {target}"
    pressed = st.button(label, type="primary", disabled=override is None, key="move_confirm", width="stretch")
    if dialogs.still_as_shown("move_shown", f"{version.ref} {target}", lines, pressed):
        if unmet and not override:
            ui.show_warning("Say why it moves although the policy is not met: that is recorded.")
            return
        if not agreed:
            ui.show_warning("Programs break by this move. Tick that it moves all the same.")
            return
        texts = {"reason": reason, "override": override or "", "request": request}
        dialogs.run(lambda: _move(version.ref, target, old, **texts), "move_reason", "move_override")


def _move(ref: str, stage: str, old: str, *, reason: str, override: str, request: str) -> str:
    done = promote(
        ui.config(), ref, stage, reason, ui.person(), old=old, override=override, request=request
    )  # fmt: skip
    return f"{done.version.ref} is now in {done.stage}.{plan_view.replaced_sentence(done)}"


def _stages(version: Version) -> list[str]:
    # A stage without its alias is none of ours: moving it to where it seems to be gives it the alias.
    able = find_abilities(ui.config())
    settled = not able.aliases or not version.lacks_alias
    return [
        stage for stage in _ORDER if (stage != version.stage or not settled) and (able.stages or stage != "Archived")
    ]  # fmt: skip


def _becomes(version: Version, target: str, listed: list[Version]) -> str:
    """The stage of the version that leaves: asked only where one leaves and there is a choice."""
    leaving = plan_view.plan(version, target, listed).leaving
    if not leaving or not find_abilities(ui.config()).stages:
        return "Archived"
    who = join_words(short(one.ref) for one in leaving)
    return st.segmented_control(
        f"{who} leaves {target} and becomes", list(_BECOMES), required=True, default="Archived",
        format_func=lambda old: _BECOMES[old], key="move_old",
    )  # fmt: skip


def _override(version: Version, target: str, checks: list[Check]) -> str | None:
    """An admin's reason for going on, "" while there is none; None where the person may not."""
    unmet = sum(not check.met for check in checks)
    verb = "is" if unmet == 1 else "are"
    if not ui.person().may("admin"):
        st.caption(f":material/lock: {unmet} of {len(checks)} {verb} not met. Only an admin can go on, with a reason.")
        return None
    return dialogs.reason_input(
        "move_override", f"{version.ref} {target}", f"{unmet} of {len(checks)} {verb} not met: why go on?",
        "Kept on the record, with the policy as it is now",
    )  # fmt: skip
