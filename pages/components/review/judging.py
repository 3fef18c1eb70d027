"""A reviewer's own queue: one item at a time, and what comes of what they press."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from pages.components.compare import voting
from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.errors import Conflict, Forbidden, Phi3Error
from phi3core.evaluation.reviews import queue, sight, votes
from phi3core.evaluation.reviews.queue import Progress, Turn
from phi3core.evaluation.reviews.review import Review
from phi3core.settings import Settings

from . import ballot_view, item_view, last_vote, links
from .ballot_view import Pressed

_TURN = "review_turn"  # of session_state: the review's id, and what is shown of it


@dataclass(frozen=True)
class _Step:
    """What came of a look at the queue. error: why what was pressed is not kept."""

    turn: Turn | None
    progress: Progress
    error: str = ""


def show(found: Review, me: Person) -> None:
    """Draw the item that waits, after keeping what was pressed on the one before."""
    _head(found, me)
    pressed = ballot_view.take_pressed()
    shown_id, shown = st.session_state.get(_TURN, ("", None))
    before = shown if shown_id == found.id else None
    label = "Keeping your vote …" if pressed else "Looking for what waits for you …"
    with ui.stop_on_error():
        try:
            step = reads.wait_for(label, _step, ui.config(), found, me, before, pressed)
        except (Conflict, Forbidden) as error:
            ui.show_warning(str(error))
            st.stop()
    st.session_state[_TURN] = (found.id, step.turn)
    _show_progress(step.progress)
    if step.error:
        ui.show_error(step.error)
    if step.turn is None:
        _show_end(step.progress)
    else:
        shown_item = sight.look(found, step.turn, me)
        item_view.show(shown_item)
        ballot_view.show(shown_item, may_undo=step.progress.done > 0)
    last_vote.show(found, me)
    voting.show_late()


def _step(settings: Settings, found: Review, me: Person, before: Turn | None, pressed: Pressed | None) -> _Step:
    """Keep what was pressed, and find what waits then. In a thread of its own."""
    error = ""
    if pressed is not None:
        try:
            if pressed.undo:
                votes.undo(settings, found, me)
                before = None
            elif before is not None and sight.look(found, before, me).key == pressed.key:
                votes.cast(settings, found, before, me, pressed.values, pressed.comment)
                before = None
        except Conflict as refused:
            error, before = str(refused), None
        except (Phi3Error, OSError) as refused:
            error = f"Your vote is not kept: {refused}"
    turn = before or queue.find_next(settings, found, me)
    return _Step(turn, queue.measure(settings, found, me), error)


def _head(found: Review, me: Person) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{short(found.plan.question, 500)}**", width="content")
        st.space("stretch")
        if found.is_run_by(me):
            links.button("How it stands", found, "review_stands", "results", ":material/bar_chart:")
        st.button("All reviews", icon=":material/list:", key="review_stop", on_click=links.open_list)


def _show_progress(progress: Progress) -> None:
    whole = progress.done + progress.waiting
    told = f"{progress.done:,} done, {progress.waiting:,} wait for you"
    st.progress(
        progress.done / whole if whole else 1.0, f"{told} · {progress.votes:,} of {progress.wanted:,} votes in all"
    )


def _show_end(progress: Progress) -> None:
    if progress.held:
        st.info(
            f"Nothing waits for you. Others have {ui.counted(progress.held, 'item')} before them: what they do not "
            "judge within half an hour is given back, and comes to you.",
            icon=":material/hourglass_empty:",
        )
    else:
        st.success("Nothing waits for you any more. Thank you.", icon=":material/check_circle:")
    if progress.done:
        ballot_view.show_undo()
