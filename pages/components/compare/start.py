"""A comparison is begun: who is asked, with what, and the first prompt."""

from __future__ import annotations

import streamlit as st

from pages.components.shared import reads, ui
from phi3core.access.roles import Person
from phi3core.chat.target import find_target
from phi3core.errors import Phi3Error
from phi3core.evaluation import comparison
from phi3core.evaluation.comparison import FEWEST, Candidate, Comparison
from phi3core.serving.pool import Pool
from phi3core.settings import Settings

from . import candidates, parameters
from .parameters import Asking

_EXAMPLES = (
    "Explain in three sentences why the sky is blue.",
    "Write a short, friendly e-mail that declines an invitation to dinner.",
    "List three differences between cats and dogs.",
)


def show(me: Person) -> None:
    """Draw the form; a prompt that is sent, or an example that is pressed, begins the comparison."""
    st.caption(
        "Ask two to four versions the same. Their answers come side by side, and you say which is better before you "
        "know whose it is."
    )
    question, problem = st.session_state.pop("compare_failed", ("", ""))
    if question:
        st.session_state["compare_input"] = question  # what was typed is not lost
    with ui.stop_on_error():
        refs = candidates.choose()
    blind = st.toggle(
        "Blind", True, key="compare_blind", disabled=not me.may("reviewer"),
        help="Names, speeds and errors are hidden until you have voted. Without it you see them at once, and don't "
        "vote. Voting needs the role reviewer.",
    )  # fmt: skip
    asking = parameters.show(refs)
    if problem:
        ui.show_error(problem)
    example = ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Ask one of these, or your own below", width="content")
        for at, text in enumerate(_EXAMPLES):
            if st.button(text, key=f"compare_example_{at}", disabled=len(refs) < FEWEST, width="content"):
                example = text
    typed = st.chat_input("Ask all of them", key="compare_input")
    if prompt := typed or example:
        _begin(refs, asking, prompt, me, blind)


def _begin(refs: list[str], asking: Asking, question: str, me: Person, blind: bool) -> None:
    """Begin it and draw its page, or draw this one again with the error."""
    try:
        made = reads.wait_for("Asking …", _ask, ui.config(), ui.servers(), refs, asking, question, me.name, blind)
    except Phi3Error as error:
        st.session_state["compare_failed"] = (question, str(error))
    else:
        st.query_params.from_dict({"c": made.id})
    st.rerun()


def _ask(
    settings: Settings, pool: Pool, refs: list[str], asking: Asking, question: str, user: str, blind: bool
) -> Comparison:
    asked = [Candidate(find_target(settings, ref), ref, options) for ref, options in zip(refs, asking.options)]
    return comparison.begin(settings, pool, asked, question, asking.system, user, asking.same, blind)
