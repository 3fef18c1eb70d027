"""What a policy asks of reviews and evaluations: told in sentences, and edited."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import as_code
from phi3core.errors import Phi3Error
from phi3core.evaluation import prompt_sets
from phi3core.evaluation.scorers import SCORERS
from phi3core.promotion.policy.evidence import short_name
from phi3core.promotion.policy.policy import Policy, ScoreLimit
from phi3core.settings import Settings


def sentences(wanted: Policy) -> list[str]:
    """Markdown: what the policy asks for, one line each."""
    lines = []
    if wanted.review_win_rate is not None:
        lines.append(
            f"a closed review that says for certain that it wins {wanted.review_win_rate:.0%} or more of the votes "
            "against the present Production: the lower end of the interval counts"
        )
    if wanted.agreement is not None:
        lines.append(f"an agreement of {wanted.agreement:g} or more between those who reviewed it")
    lines += [f"nothing surely lower than the present Production on {_code(name)}" for name in wanted.no_regression]
    lines += [
        f"{as_code(limit.scorer)} at least {limit.at_least:g} on {_code(limit.prompt_set)}" for limit in wanted.scores
    ]
    return lines


def edit(now: Policy) -> Policy:
    """The widgets; a policy with what they say, and nothing else."""
    left, right = st.columns(2, vertical_alignment="bottom")
    won = left.number_input(
        "Won in a review, for certain, %", 0.0, 100.0, _percent(now.review_win_rate), step=5.0, format="%g",
        placeholder="not asked for", key="policy_review_win_rate",
        help="The lower end of the interval of its win rate against the present Production, in a closed review.",
    )  # fmt: skip
    agreement = right.number_input(
        "Agreement of its reviewers", 0.0, 1.0, now.agreement, step=0.05, format="%g", placeholder="not asked for",
        key="policy_agreement", help="Krippendorff's alpha: 1 where all agree, 0 as by chance.",
    )  # fmt: skip
    sets = _sets(now)
    unchanged = st.multiselect(
        "No regression on", list(sets), list(now.no_regression), format_func=short_name, key="policy_no_regression",
        placeholder="not asked for",
        help="In an evaluation of both, no scorer of quality is surely lower than the present Production's.",
    )  # fmt: skip
    scores = st.data_editor(
        _frame(now), num_rows="dynamic", hide_index=True, key="policy_scores",
        column_config={
            "Prompt set": st.column_config.SelectboxColumn(
                options=list(sets), format_func=lambda name: short_name(str(name)), required=True, width="small"
            ),
            "Scorer": st.column_config.SelectboxColumn(options=list(SCORERS), required=True, width="small"),
            "At least": st.column_config.NumberColumn(required=True, width="small", help="The least mean"),
        },
    )  # fmt: skip
    return Policy(
        review_win_rate=None if won is None else won / 100,
        agreement=agreement,
        no_regression=tuple(unchanged),
        scores=_limits(scores),
    )


def _sets(now: Policy) -> list[str]:
    """The prompt sets' newest versions and those that are asked for now, each with its whole digest."""
    known = [*now.no_regression, *(limit.prompt_set for limit in now.scores)]
    try:
        known += reads.read("Reading the prompt sets …", _read_sets, ui.config(), max_age=5)
    except Phi3Error as error:
        ui.show_error(str(error))
    return list(dict.fromkeys(known))


def _read_sets(settings: Settings) -> list[str]:
    return [f"{one.name}@{one.digest}" for one in prompt_sets.all_sets(settings)]


def _frame(now: Policy) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Prompt set": pd.Series([limit.prompt_set for limit in now.scores], dtype="str"),
            "Scorer": pd.Series([limit.scorer for limit in now.scores], dtype="str"),
            "At least": pd.Series([limit.at_least for limit in now.scores], dtype="float"),
        }
    )


def _limits(frame: pd.DataFrame) -> tuple[ScoreLimit, ...]:
    rows: list[dict[str, Any]] = frame.to_dict("records")
    whole = [row for row in rows if not any(value is None or pd.isna(value) for value in row.values())]
    return tuple(ScoreLimit(row["Prompt set"], row["Scorer"], float(row["At least"])) for row in whole)


def _percent(share: float | None) -> float | None:
    return None if share is None else round(share * 100, 4)


def _code(prompt_set: str) -> str:
    return as_code(short_name(prompt_set))
