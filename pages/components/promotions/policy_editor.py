"""The policy of a registered model, stage by stage: everybody reads it, an admin changes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from pages.components.shared import dialogs, ui
from pages.components.shared.escape import as_code, short
from phi3core.promotion.policy import policy
from phi3core.promotion.policy.policy import Policy, Threshold
from phi3core.promotion.policy.policy_table import MOST
from phi3core.text import join_words, plural

from . import policy_quality

_WHAT = (
    "**A policy says what a version needs before it may move to a stage**: approvals, reviews, a win rate against the "
    "present Production, scores on a prompt set, limits on metrics, tags, the same signature. It is checked at every "
    "promotion, from here, from a terminal and from a script. What is not met blocks the move, unless an admin goes on "
    "with a reason, which is recorded."
)


def show(model: str) -> None:
    """One model's policies. Raises Phi3Error where the store can't be read."""
    policies = policy.read(ui.config(), model)
    if not policies:
        st.info(_WHAT, icon=":material/policy:")
    may = ui.person().may("admin")
    for stage in policy.STAGES:
        with st.container(border=True):
            found = policies.get(stage)
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"{ui.stage_badge(stage)} {'needs' if found else 'has no policy: it needs nothing.'}")
                label = "Change" if found else "Set a policy"
                if may and st.button(label, icon=":material/edit:", key=f"policy_edit_{stage}", type="tertiary"):
                    edit(model, stage, found or Policy())
            if found and found.damage:
                ui.show_error(found.damage)
            elif found:
                st.markdown("\n".join(f"- {line}" for line in sentences(found)))
    if not may:
        st.caption("An admin can change policies.")


def sentences(wanted: Policy) -> list[str]:
    """Markdown: what the policy asks for, one line each."""
    lines = []
    if wanted.approvals:
        count = f"{wanted.approvals} {plural(wanted.approvals, 'approval')} of the artifact as it is now"
        lines.append(count + (", one of them not by its author" if wanted.other_approver else ""))
    elif wanted.other_approver:
        lines.append("an approval by somebody who is not its author")
    if wanted.reviews:
        lines.append(f"a thumb or a vote by {wanted.reviews} {'person' if wanted.reviews == 1 else 'people'}")
    if wanted.win_rate is not None:
        lines.append(f"a win rate of {wanted.win_rate:.0%} or more against the present Production")
    for limit in wanted.metrics:
        lines.append(f"{as_code(limit.metric)} {_range(limit)}")
    if wanted.tags:
        lines.append("the tags " + ", ".join(as_code(tag) for tag in wanted.tags))
    lines += policy_quality.sentences(wanted)
    if wanted.same_signature:
        lines.append("the signature of the present Production, so that no client breaks")
    return lines or ["nothing"]


def _range(limit: Threshold) -> str:
    parts = [f"at least {limit.at_least:g}"] if limit.at_least is not None else []
    parts += [f"at most {limit.at_most:g}"] if limit.at_most is not None else []
    return join_words(parts) or "recorded, whatever its value"


@st.dialog("Policy", icon=":material/policy:", width="medium")
def edit(model: str, stage: str, now: Policy) -> None:
    st.markdown(f"What a version of **{short(model)}** needs before it may move to {ui.stage_badge(stage)}")
    approvals, reviews = st.columns(2)
    count = approvals.number_input("Approvals", 0, MOST["approvals"], now.approvals, key="policy_approvals")
    other = approvals.checkbox("One approver is not the author", now.other_approver, key="policy_other")
    least = reviews.number_input("People who reviewed it", 0, MOST["reviews"], now.reviews, key="policy_reviews")
    signature = reviews.checkbox("Same signature as Production", now.same_signature, key="policy_signature")
    percent = round(now.win_rate * 100, 4) if now.win_rate is not None else None
    rate = st.number_input(
        "Win rate against the present Production, %", 0.0, 100.0, percent, step=5.0, format="%g",
        placeholder="not asked for", key="policy_win_rate",
    )  # fmt: skip
    quality = policy_quality.edit(now)
    limits = st.data_editor(
        _frame(now), num_rows="dynamic", hide_index=True, key="policy_metrics", column_config=_COLUMNS,
    )  # fmt: skip
    tags = st.multiselect(
        "Required tags", list(now.tags), list(now.tags), accept_new_options=True, key="policy_tags",
        placeholder="name, or name=value", max_selections=20,
    )  # fmt: skip
    why = dialogs.reason_input("policy_reason", f"{model} {stage}")
    if st.button(f"Save what {stage} needs", type="primary", key="policy_save", width="stretch"):
        win_rate = None if rate is None else rate / 100
        wanted = replace(
            quality, approvals=count, other_approver=other, reviews=least, win_rate=win_rate,
            metrics=_thresholds(limits), tags=tuple(tags), same_signature=signature,
        )  # fmt: skip
        dialogs.run(lambda: _write(model, stage, wanted, why), "policy_reason")
    if now != Policy() and st.button(f"{stage} needs nothing", key="policy_remove", type="tertiary", width="stretch"):
        dialogs.run(lambda: _write(model, stage, Policy(), why), "policy_reason")


def _write(model: str, stage: str, wanted: Policy, why: str) -> str:
    policy.write(ui.config(), model, stage, wanted, ui.person(), why)
    return f"The policy of {model} for {stage} is saved."


_COLUMNS = {
    "Metric": st.column_config.TextColumn(required=True, help="A metric of the version's run"),
    "At least": st.column_config.NumberColumn(),
    "At most": st.column_config.NumberColumn(),
}


def _frame(now: Policy) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Metric": pd.Series([limit.metric for limit in now.metrics], dtype="str"),
            "At least": pd.Series([limit.at_least for limit in now.metrics], dtype="float"),
            "At most": pd.Series([limit.at_most for limit in now.metrics], dtype="float"),
        }
    )


def _thresholds(frame: pd.DataFrame) -> tuple[Threshold, ...]:
    rows: list[dict[str, Any]] = frame.to_dict("records")
    found = []
    for row in rows:
        name = row["Metric"]
        if not isinstance(name, str) or not name.strip():
            continue  # a row that was begun
        found.append(Threshold(name.strip(), _number(row["At least"]), _number(row["At most"])))
    return tuple(found)


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
