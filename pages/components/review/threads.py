"""What people say to each other about one item or version, and a box to say something."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import escape, short
from phi3core.access.roles import Person
from phi3core.errors import Phi3Error
from phi3core.evaluation.reviews import discussion
from phi3core.evaluation.reviews.discussion import Comment
from phi3core.evaluation.reviews.review import Review
from phi3core.timestamps import from_ms


def show(found: Review, about: str, comments: Sequence[Comment], me: Person) -> None:
    """Draw them. about: as in `Comment`."""
    for one in comments:
        st.markdown(f"**{short(one.by)}** :gray[{ui.ago(from_ms(one.at))}]  \n{escape(one.text)}")
    if not me.may("reviewer"):
        return
    key, said = f"review_text_{about or 'all'}", f"review_said_{about or 'all'}"
    if st.session_state.pop(said, False):
        st.session_state[key] = ""  # only now: what could not be kept stays in the box
    with st.form(f"review_say_{about or 'all'}", border=False):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            text = st.text_input(
                "Say something", placeholder="Say something; @name calls somebody", label_visibility="collapsed",
                max_chars=discussion.LONGEST, key=key,
            )  # fmt: skip
            pressed = st.form_submit_button("Say it", icon=":material/send:")
    if pressed:
        try:
            reads.wait_for("Keeping it …", discussion.comment, ui.config(), found, about, text, me)
        except Phi3Error as error:
            ui.show_error(str(error))
        else:
            st.session_state[said] = True
            reads.invalidate()
            st.rerun()
