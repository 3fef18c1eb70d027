"""What this person said last, what others said of the same item, and what is said of those that they judged."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import escape, short
from phi3core.access.roles import Person
from phi3core.evaluation.reviews import discussion, sight, votes
from phi3core.evaluation.reviews.discussion import Comment
from phi3core.evaluation.reviews.items import ReviewItem, items_of
from phi3core.evaluation.reviews.review import Review
from phi3core.evaluation.reviews.sight import Opinion
from phi3core.settings import Settings
from phi3core.traces.acts import Act, Value

from . import threads

_WORDS = {"first": "1 is better", "second": "2 is better", "tie": "as good as each other", "bad": "both bad"}


def show(found: Review, me: Person) -> None:
    """Draw it, closed: the next item is what matters. What it holds is read once it is opened."""
    opened = st.toggle("What you said last, and what others said of it", key="review_last")
    if not opened:
        return
    with ui.show_errors():
        told = reads.wait_for("Reading what others said …", _read, ui.config(), found, me)
        if told is None:
            st.caption("You have not voted yet.")
            return
        item, vote, opinions, comments = told
        with st.container(border=True):
            st.caption(short(item.messages[-1]["content"], 300))
            for at, answer in enumerate(sight.in_order(found, item, me.name), start=1):
                st.markdown(f"{at}: {short(answer.text, 300)}" if item.right else short(answer.text, 300))
            own = {name: sight.shown_value(found, item, me, value) for name, value in vote.values.items()}
            st.markdown(f"You: **{escape(words_of(own))}**")
            for one in opinions:
                why = f" — {escape(one.comment)}" if one.comment else ""
                st.markdown(f"{short(one.reviewer)}: **{escape(words_of(one.values))}**{why}")
            if not opinions:
                st.caption("Others have said nothing of it yet.")
            threads.show(found, item.id, [one for one in comments if one.about == item.id], me)
        items = items_of(ui.config(), found)
        for other in dict.fromkeys(one.about for one in comments if one.about in items and one.about != item.id):
            with st.container(border=True):
                st.caption(short(items[other].messages[-1]["content"], 300))
                threads.show(found, other, [one for one in comments if one.about == other], me)


def words_of(values: Mapping[str, Value]) -> str:
    """A vote in words, as its reader was shown the answers."""
    return ", ".join(f"{name} {_WORDS.get(str(value), value)}".strip() for name, value in values.items())


def _read(settings: Settings, found: Review, me: Person) -> tuple[ReviewItem, Act, list[Opinion], list[Comment]] | None:
    vote = votes.last_vote(settings, found, me)
    if vote is None:
        return None
    item = items_of(settings, found)[vote.item]
    return item, vote, sight.read_opinions(settings, found, item, me), discussion.read_comments(settings, found, me)
