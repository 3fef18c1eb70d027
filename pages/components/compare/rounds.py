"""A comparison under way: its rounds up to the one that waits for this reader's vote, and the way to go on."""

from __future__ import annotations

import streamlit as st

from pages.components.prompt_sets import into_set
from pages.components.shared import live_part, reads, ui
from pages.components.shared.escape import escape, short
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Phi3Error
from phi3core.evaluation import ballot, comparison, hiding
from phi3core.evaluation.ballot import Verdict, Votes
from phi3core.evaluation.comparison import Comparison
from phi3core.evaluation.conversation_items import item_of

from . import answers, voting, why

_EVERY = 0.3  # seconds between two looks at answers that come


def show(found: Comparison, me: Person) -> None:
    """Draw it as far as this reader may see it."""
    votes, rounds = voting.read(found, me), found.rounds
    _head(found, len(rounds))
    voting.show_problem()
    settled = 0
    for at, round in enumerate(rounds):
        verdict = ballot.verdict_of(round, votes)
        sight = hiding.look(round, me, verdict)
        if sight.running:
            live_part.draw(_follow, found, at, me, votes, every=_EVERY)
            st.button(
                "Stop",
                icon=":material/stop_circle:",
                key="compare_stop",
                on_click=_stop,
                args=(found, me),
                shortcut="Esc",
            )
            break
        answers.show(sight, str(at), _marked(at, shortcut=at == len(rounds) - 1 or sight.pending), verdict)
        if sight.pending:
            voting.show(found, round, sight, me, at)
            break
        if verdict is not None:
            voting.show_verdict(found, round, verdict, me, at)
        why.show(sight.answers, str(at))
        _into_set(found, at, verdict)
        settled += 1
    voting.show_late()
    if settled == len(rounds):
        if found.may_go_on(me.name):
            _go_on(found, me)
        elif found.replayed and found.running:
            live_part.draw(_await_next, found, len(rounds), every=1.0)


def _marked(at: int, shortcut: bool) -> bool:
    """Whether what differs is marked, and the button that changes it.

    A button and no toggle: whose box keeps the keyboard, so that the keys of the vote would do nothing.
    """
    name = f"compare_marked_{at}"
    marked = bool(st.session_state.get(name))
    st.button(
        "Show it as it was written" if marked else "Mark what differs", key=f"compare_marks_{at}", type="tertiary",
        icon=":material/difference:", shortcut="D" if shortcut else None, on_click=st.session_state.update,
        args=({name: not marked},),
    )  # fmt: skip
    return marked


def _head(found: Comparison, count: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        system = found.conversations[0].path[-1].system if found.conversations[0].path else ""
        st.caption(f"System prompt: {short(system, 200)}" if system else f"{ui.counted(count, 'prompt')}.")
        st.space("stretch")
        if st.button("New comparison", icon=":material/add:", key="compare_new"):
            st.query_params.clear()
            st.rerun()
    if len({len(conversation.path) for conversation in found.conversations}) > 1 and not found.replayed:
        st.caption(":material/info: One that was compared is not there any more, and is not asked any more.")


def _into_set(found: Comparison, at: int, verdict: Verdict | None) -> None:
    """The way to keep a prompt, with the answer that this reader found best as its reference."""
    if not st.button(into_set.LABEL, icon=into_set.ICON, key=f"compare_set_{at}", type="tertiary"):
        return
    turns = {entry.turn.id: (entry.turn, entry.conversation) for entry in found.rounds[at].entries}
    best = verdict.best if verdict is not None and verdict.best in turns else next(iter(turns))
    turn, conversation_id = turns[best]
    talk = next(one for one in found.conversations if one.id == conversation_id)
    reference = turn.answer if verdict is not None and verdict.kind == "best" else ""
    try:
        into_set.show([item_of(talk.sent_for(turn), turn.id[:12], reference)])
    except BadInput as error:
        ui.show_error(str(error))


def _follow(by_itself: bool, found: Comparison, at: int, me: Person, votes: Votes) -> None:
    """The answers as they come. Draws the page anew when all have ended."""
    round = found.rounds[at]
    sight = hiding.look(round, me, ballot.verdict_of(round, votes))
    if by_itself and not sight.running:
        st.rerun()
    answers.show(sight, str(at), marked=False)


def _await_next(by_itself: bool, found: Comparison, count: int) -> None:
    st.caption(":material/progress_activity: The next question of the replay is being asked …")
    if by_itself and (len(found.rounds) > count or not found.running):
        st.rerun()


def _stop(found: Comparison, me: Person) -> None:
    try:
        found.stop(me)
    except Phi3Error as error:
        st.toast(escape(str(error)), icon=":material/error:")


def _go_on(found: Comparison, me: Person) -> None:
    problem = st.session_state.pop("compare_failed", ("", ""))
    if problem[0]:
        st.session_state["compare_next"] = problem[0]  # what was typed is not lost
        ui.show_error(problem[1])
    if text := st.chat_input("Go on with all of them", key="compare_next"):
        try:
            reads.wait_for("Asking …", comparison.go_on, ui.config(), ui.servers(), found, text, me.name)
        except Phi3Error as error:
            st.session_state["compare_failed"] = (text, str(error))
        st.rerun()
