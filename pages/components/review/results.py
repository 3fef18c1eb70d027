"""What the votes of a review say so far, for its owner: who is ahead, how sure that is, and what may have bent it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import in_table, short
from phi3core.clean_text import one_line
from phi3core.evaluation.analysis import agreement, report
from phi3core.evaluation.analysis.needed import Needed
from phi3core.evaluation.analysis.report import Report
from phi3core.evaluation.judgement import Judgement
from phi3core.evaluation.reviews.review import Review
from phi3core.hashing import hash_texts

from . import results_charts

_MOST_VOTERS = 100


def show(found: Review, judgements: Sequence[Judgement]) -> None:
    """Draw it. It is computed in the background, and what this session saw of it before is shown meanwhile."""
    votes = tuple(judgements)
    key = "report of a review", found.id, hash_texts(repr(votes))  # not the votes, which would be kept with it
    reading = reads.latest(report.analyse, votes, key=key)
    if reading.pending:
        live_part.draw(_redraw_when_computed, votes, key, every=1.0)
    if reading.error:
        ui.show_error(reading.error)
    if reading.value is not None:
        st.session_state["review_report"] = found.id, reading.value
    id, told = st.session_state.get("review_report", ("", None))
    if id == found.id:
        _draw(told)


def _redraw_when_computed(by_itself: bool, votes: tuple[Judgement, ...], key: tuple[str, ...]) -> None:
    pending = reads.latest(report.analyse, votes, patience=0, key=key).pending
    if by_itself and not pending:
        st.rerun()
    st.caption(":material/hourglass_top: The figures are being computed.")


def _draw(told: Report) -> None:
    if told.ranking:
        _standing(told)
        results_charts.ranking(told.ranking)
        results_charts.rates(told)
    if told.means:
        results_charts.means(told)
    if told.agreement:
        _agreement(told)
    if told.first_shown is not None:
        results_charts.first_shown(told.first_shown)
    if told.voters:
        _voters(told)


def _standing(told: Report) -> None:
    """Who leads, and what would settle it, in words."""
    if len(told.islands) > 1:
        groups = "; ".join(", ".join(group) for group in told.islands)
        ui.show_warning(f"There is no vote between these groups, so nothing ranks one against the other: {groups}.")
    best, second = told.ranking[0], told.ranking[1]
    rate = told.rates.get((best.ref, second.ref))
    if rate is None:
        return
    sure = f"({rate.low:.0%} to {rate.high:.0%}, {ui.counted(rate.count, 'item')})"
    if told.leader:
        says = f"**{short(best.ref)}** leads: {rate.value:.0%} of the votes between it and {short(second.ref)} {sure}."
    else:
        says = (
            f"Neither **{short(best.ref)}** nor **{short(second.ref)}** leads: {short(best.ref)} has "
            f"{rate.value:.0%} of the votes between them {sure}."
        )
    st.markdown(says)
    for one in told.ranking:
        if one.bound == "above":
            st.caption(f"{short(one.ref)} never lost: how much better it is has no upper bound yet.")
        elif one.bound == "below":
            st.caption(f"{short(one.ref)} never won: how much worse it is has no lower bound yet.")
    if told.needed is not None:
        st.markdown(_needed(told.needed))


def _needed(found: Needed) -> str:
    if found.settled:
        return ":green[:material/check_circle:] That is settled: the interval leaves the middle."
    if found.items is None:
        return ":gray[:material/balance:] Not settled, and no number of votes would: both seem to be as good."
    more = [] if found.votes is None else [f"{ui.counted(found.votes, 'more vote')} on the same items"]
    more.append(f"{ui.counted(found.items, 'more item')} with as many votes each")
    only = "" if found.votes is not None else " More votes on the same items would not: the items themselves differ."
    return (
        f":orange[:material/pending:] Not settled. If it goes on like this, about {' or '.join(more)} would settle it, "
        f"four times out of five.{only}"
    )


def _agreement(told: Report) -> None:
    for one in told.agreement:
        name = f" on {short(one.criterion, 40)}" if one.criterion else ""
        color, word = _judge(one.value)
        st.markdown(
            f"Agreement{name}: :{color}[**{one.value:.2f}**, {word}] ({one.low:.2f} to {one.high:.2f}, "
            f"{ui.counted(one.items, 'item')} that two or more judged)",
            help="Krippendorff's alpha: 1 where all agree, 0 where they agree as often as by chance.",
        )
    if len(told.agreement_over_time) > 2:
        results_charts.agreement_over_time(told.agreement_over_time)


def _judge(alpha: float) -> tuple[str, str]:
    if alpha >= agreement.RELIABLE:
        return "green", "reliable"
    return ("orange", "tentative") if alpha >= agreement.TENTATIVE else ("red", "low")


def _voters(told: Report) -> None:
    failed = [one for one in told.voters if one.failed]
    if failed:
        told_of = ", ".join(f"{one_line(one.name, 40)} {one.failed} of {one.checks}" for one in failed[:10])
        ui.show_warning(f"Items that came twice were judged otherwise the second time: {told_of}.")
    alone = [one for one in told.voters if told.ranking and one.first_without != told.leader]
    if alone and len(told.voters) > 1:
        names = ", ".join(one_line(one.name, 40) for one in alone[:10])
        ui.show_warning(f"Without the votes of one person another version would lead, or none: {names}.")
    with st.expander("Each reviewer's part", icon=":material/group:"):
        rows = [
            {
                "Reviewer": in_table(one.name),
                "Votes": one.votes,
                "Failed checks": f"{one.failed} of {one.checks}" if one.checks else "–",
                "Leads without them": in_table(one.first_without) or "–",
                "Moves a version by": f"{one.swing:.1%}" if told.ranking else "–",
            }
            for one in told.voters[:_MOST_VOTERS]
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="review_voters")
