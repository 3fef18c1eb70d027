"""Where reviewers disagree: what each of them said, and what they say to each other about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import escape, short
from phi3core.access.roles import Person
from phi3core.evaluation.analysis import audit
from phi3core.evaluation.analysis.audit import Disagreement
from phi3core.evaluation.judgement import Judgement
from phi3core.evaluation.reviews import discussion
from phi3core.evaluation.reviews.discussion import Comment
from phi3core.evaluation.reviews.items import ReviewItem, items_of
from phi3core.evaluation.reviews.review import Review
from phi3core.settings import Settings

from . import threads

_PAGE = 5


def show(found: Review, judgements: Sequence[Judgement], me: Person) -> None:
    """Draw the items that are judged differently, those most divided on first, and what is said of the versions."""
    with ui.stop_on_error():
        comments, items = reads.wait_for("Reading what is said …", _read, ui.config(), found, me)
    st.subheader("To talk over", anchor=False)
    divided = audit.disagreements(judgements)
    commented = [one.about for one in comments if one.about in items]
    others = [id for id in dict.fromkeys(commented) if id not in {one.item for one in divided}]
    listed = [*divided, *(Disagreement(id, "", (), (), 0.0) for id in others)]
    if not listed:
        st.caption("Nothing: where more than one judged an item, they agree.")
    pages = -(-len(listed) // _PAGE)
    page = st.pagination(pages, key="review_divided") if pages > 1 else 1
    for one in listed[(page - 1) * _PAGE : page * _PAGE]:
        with st.container(border=True):
            _item(items[one.item], one)
            if _is_first(listed, one):
                threads.show(found, one.item, [said for said in comments if said.about == one.item], me)
    with st.expander("What is said of the versions, and of all of it", icon=":material/forum:"):
        for about in (*found.refs, ""):
            st.markdown(f"**{short(about) or 'All of it'}**")
            threads.show(found, about, [said for said in comments if said.about == about], me)


def _read(settings: Settings, found: Review, me: Person) -> tuple[list[Comment], Mapping[str, ReviewItem]]:
    return discussion.read_comments(settings, found, me), items_of(settings, found)


def _is_first(listed: Sequence[Disagreement], one: Disagreement) -> bool:
    """Whether an item's discussion stands here: an item that is rated by several criteria is listed several times."""
    return next(other for other in listed if other.item == one.item) is one


def _item(item: ReviewItem, one: Disagreement) -> None:
    criterion = f" · {escape(one.criterion)}" if one.criterion else ""
    st.caption(f"{escape(item.prompt)}{criterion}")
    st.markdown(short(item.messages[-1]["content"], 400))
    for column, answer in zip(st.columns(len(item.answers)), item.answers):
        with column:
            st.caption(short(answer.ref))
            st.markdown(short(answer.text, 600))
    why = dict(one.comments)
    for name, said in one.said:
        st.markdown(f"{short(name)}: **{escape(said)}**{f' — {escape(why[name])}' if name in why else ''}")
