"""A policy as a checklist: what a stage needs of a version, and the evidence behind each line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.promotion.policy import checks
from phi3core.promotion.policy.policy import Check
from phi3core.registry.models import Version
from phi3core.settings import Settings

_EVIDENCE = 300  # letters of one line
_FRESH = 10.0  # seconds


def read(version: Version, stage: str) -> list[Check]:
    """What the stage needs of the version, and what is met now; empty where there is no policy. Raises Phi3Error."""
    return reads.read("Checking the policy …", _checks, ui.config(), version, stage, max_age=_FRESH)


def _checks(config: Settings, version: Version, stage: str) -> list[Check]:
    return checks.checklist(config, version, stage, fetch=False)


def show(checks: Sequence[Check], stage: str) -> None:
    """One line each: met or not, its name, its evidence."""
    if not checks:
        st.caption(f"No policy: {stage} needs nothing of a version of this model.")
        return
    title = f"**What {stage} needs** · {summary(checks)}"
    st.markdown("  \n".join([title, *(line(check.met, check.name, check.says, check.source) for check in checks)]))


def show_recorded(checks: Sequence[Mapping[str, Any]]) -> None:
    """The policy's state as a record keeps it."""
    lines = [
        line(bool(check.get("met")), *(str(check.get(part, "")) for part in ("name", "says", "source")))
        for check in checks
    ]
    st.markdown("  \n".join(lines))


def summary(checks: Sequence[Check]) -> str:
    """Markdown: how many lines are met."""
    met = sum(check.met for check in checks)
    color = "green" if met == len(checks) else "orange"
    return f":{color}[{met} of {len(checks)} met]"


def line(met: bool, name: str, says: str, source: str = "") -> str:
    """Markdown, with a link to what it rests on. The evidence is escaped: it may quote what people wrote."""
    icon = ":green[:material/check_circle:]" if met else ":red[:material/cancel:]"
    return f"{icon} **{short(name)}** · {short(says, _EVIDENCE)}{link(source)}"


def link(source: str) -> str:
    """A link to the evidence, from a record perhaps: only what is the id of a run leads anywhere."""
    kind, _, id = source.partition(" ")
    if kind not in _PLACES or not re.fullmatch(r"[0-9a-f]{32}", id):
        return ""
    return f" [See the {kind}]({_PLACES[kind]}{id})"


_PLACES = {"evaluation": "/evaluate?run=", "review": "/review?view=results&r="}
