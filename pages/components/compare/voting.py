"""The vote on a round: buttons where a thumb reaches them, keys for those who have a keyboard, and taking it back."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import escape
from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.errors import Phi3Error
from phi3core.evaluation import ballot, hiding
from phi3core.evaluation.ballot import BAD, TIE, Verdict, Votes
from phi3core.evaluation.comparison import Comparison, Round
from phi3core.evaluation.hiding import Sight

_VOTES = "compare_votes"  # of session_state: the comparison's id, and this person's votes on it


def read(comparison: Comparison, me: Person) -> Votes:
    """This person's votes, read once. Where they can't be read all is hidden, and the first vote counts."""
    kept_id, kept = st.session_state.get(_VOTES, ("", {}))
    if kept_id == comparison.id:
        return dict(kept)
    if not me.may("reviewer"):
        return {}
    try:
        found = reads.wait_for("Reading your votes …", ballot.read, ui.config(), comparison, me)
    except Phi3Error as error:
        ui.show_warning(f"What you voted before can't be read, and your first vote counts. {error}")
        return {}
    _keep(comparison, found)
    return found


def show(comparison: Comparison, round: Round, sight: Sight, me: Person, at: int) -> None:
    """The buttons, at the bottom of the page. at: the round's number, for keys."""
    entries, two = hiding.in_order(round, me), len(sight.answers) == 2
    with st.bottom:
        comment = st.text_input(
            "Why?", key=f"compare_comment_{at}", placeholder="Why? (may stay empty)", label_visibility="collapsed",
            max_chars=2000,
        )  # fmt: skip
        verdict: Verdict | None = None
        with st.container(horizontal=True, gap="small", key="compare_vote"):
            for number, (shown, entry) in enumerate(zip(sight.answers, entries), start=1):
                label = f"{shown.name} is {'better' if two else 'the best'}"
                if shown.votable and st.button(
                    label, key=f"compare_vote_{number}", shortcut=str(number), type="primary", width="stretch"
                ):
                    verdict = Verdict("best", entry.turn.id)
        with st.container(horizontal=True, gap="small", key="compare_vote_neither"):
            if st.button("As good", key="compare_vote_tie", shortcut="T", width="stretch"):
                verdict = TIE
            if st.button("Both bad" if two else "All bad", key="compare_vote_bad", shortcut="B", width="stretch"):
                verdict = BAD
        if verdict is not None:
            chosen = verdict
            _do(comparison, lambda: ballot.cast(ui.config(), round, chosen, me, comment))
        if st.button("Show whose they are, without a vote", key="compare_reveal", type="tertiary"):
            _do(comparison, lambda: ballot.reveal(ui.config(), round, me))


def show_problem() -> None:
    """Why the vote that was just cast is not kept."""
    if error := st.session_state.pop("compare_vote_error", ""):
        ui.show_error(error)


def show_verdict(comparison: Comparison, round: Round, verdict: Verdict, me: Person, at: int) -> None:
    """What this person said of a round, and the way to take it back."""
    if verdict.kind == "seen":
        st.caption(":material/visibility: You looked whose answers these are: you have no vote on them.")
        return
    order = [entry.turn.id for entry in hiding.in_order(round, me)]
    best = order.index(verdict.best) + 1 if verdict.best in order else 0
    words = {"best": f"{best} is better", "tie": "as good as each other", "bad": "bad, all of them"}[verdict.kind]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f":material/how_to_vote: Your vote: {words}.", width="content")
        if st.button("Take it back", key=f"compare_back_{at}", type="tertiary", help="You can't vote on it again."):
            _do(comparison, lambda: ballot.reveal(ui.config(), round, me))


def show_late() -> None:
    """What the store has not taken, where it does not answer; looked at again while there is any."""
    live_part.draw(_late, every=2.0 if history.count_pending(ui.config()) else None)


def _late(_by_itself: bool) -> None:
    trouble, count = history.sending_error(ui.config()), history.count_pending(ui.config())
    if trouble and count:
        waits = "1 change waits" if count == 1 else f"{count} changes wait"
        words = f"{waits} for the store, safe on this machine until it takes them."
        st.caption(f":material/cloud_sync: {words} {escape(trouble)}")


def _do(comparison: Comparison, change: Callable[[], Votes]) -> None:
    """Make the change and draw the page anew, with what it shows now or with the error."""
    try:
        _keep(comparison, reads.wait_for("Keeping your vote …", change))
    except (Phi3Error, OSError) as error:
        st.session_state["compare_vote_error"] = f"Your vote is not kept: {error}"
        st.session_state.pop(_VOTES, None)  # another tab may have voted: read them anew
    st.rerun()


def _keep(comparison: Comparison, votes: Votes) -> None:
    kept_id, kept = st.session_state.get(_VOTES, ("", {}))
    before: Votes = kept if kept_id == comparison.id else {}
    st.session_state[_VOTES] = (comparison.id, {**before, **votes})
