"""What a move will change, in words, before it does."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.shared import reads, store_reads, ui
from pages.components.shared.escape import as_code, escape, short
from phi3core.promotion.aliases import EXCLUSIVE_STAGES
from phi3core.promotion.plan import Plan, plan_move
from phi3core.promotion.promote import Promotion
from phi3core.registry import compare
from phi3core.registry.models import Version
from phi3core.text import join_words

_FRESH = 600.0  # seconds: what was logged with a version does not change


def plan(version: Version, stage: str, listed: list[Version], old: str = "Archived") -> Plan:
    """listed: all versions of the model. old: what the version that leaves becomes. Raises BadInput."""
    return plan_move(ui.config(), version, stage, listed, old=old)


def as_now(version: Version, listed: list[Version]) -> tuple[Version, list[Version]]:
    """The version as it is at this moment: a dialog may stay open for long. One that is gone stays as it was."""
    listed = store_reads.versions(version.name) or listed
    return next((now for now in listed if now.version == version.version), version), listed


def sentences(plan: Plan) -> list[str]:
    """Markdown, one thing that happens a line."""
    name, ref, alias = short(plan.version.name), short(plan.version.ref), as_code(f"@{plan.stage.lower()}")
    found = []
    for left in plan.leaving:
        loses = f" and loses {alias}" if plan.stage.lower() in left.aliases and not plan.unguarded else ""
        found.append(f"**{short(left.ref)}** leaves {plan.stage}: it becomes {ui.stage_badge(plan.becomes)}{loses}.")
    own = [change for change in plan.changes if change.ref == plan.version.ref]
    does = [
        f"moves from {ui.stage_badge(change.old)} to {ui.stage_badge(change.new)}"
        if change.what == "stage"
        else f"gets {as_code(change.new)}"
        if change.new
        else f"loses {as_code(change.old)}"
        for change in own
    ]
    if does:
        found.append(f"**{ref}** {join_words(does)}.")
    for change in plan.changes:
        if change.what == "alias" and change.ref != plan.version.ref:
            found.append(
                f"**{short(change.ref)}** stays where MLflow’s stage has put it, and gets {as_code(change.new)}."
            )
    if plan.stage in EXCLUSIVE_STAGES:
        found.append(f"{name}/{plan.stage} and {alias} mean {ref} from then on, for every client that asks for them.")
    if plan.vacated:
        found.append(f"**No version is in {plan.vacated} any more**, until another is moved there.")
    if plan.unguarded:
        found.append("This store has no aliases: nothing but this app keeps two versions from the same stage.")
    return [*found, "The move is recorded with your name and reason."]


def breaks(plan: Plan) -> list[str]:
    """What programs that call the version that is replaced meet at the new one; [] where nothing breaks."""
    if plan.replaced is None:
        return []
    found, unread = reads.read(
        "Comparing the signatures …", compare.find_breaks, ui.config(), plan.replaced, plan.version, max_age=_FRESH
    )
    if unread:
        st.caption(f":material/help: Whether programs go on working can’t be told. {escape(unread)}")
    return found


def show(plan: Plan, broken: Sequence[str] = ()) -> list[str]:
    """Draw it, and return the lines. broken: from `breaks`."""
    lines = sentences(plan)
    if broken and plan.replaced:
        old, new = short(plan.replaced.ref), short(plan.version.ref)
        told = " ".join(escape(sentence) for sentence in broken)
        lines.insert(0, f":red[:material/link_off:] **Programs that call {old} break on {new}.** {told}")
    st.markdown("\n".join(["**What will change**", "", *(f"- {line}" for line in lines)]))
    return lines


def replaced_sentence(done: Promotion) -> str:
    """A sentence about the version that left the stage, "" where none did."""
    if done.replaced is None:
        return ""
    return f" {done.replaced.ref} {'was archived' if done.replaced_to == 'Archived' else 'is in no stage now'}."
