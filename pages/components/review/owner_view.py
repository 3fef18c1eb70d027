"""How a review stands, for who runs it; and what came of it, for everybody, once it is closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.errors import Phi3Error
from phi3core.evaluation.judgement import Judgement
from phi3core.evaluation.reviews import closing, votes
from phi3core.evaluation.reviews.closing import Result
from phi3core.evaluation.reviews.review import Review
from phi3core.settings import Settings
from phi3core.timestamps import from_ms

from . import links, results, talk_over


def show(found: Review, me: Person) -> None:
    """Draw it."""
    with ui.stop_on_error():
        result, judgements, changes = reads.read(
            "Reading the votes …", _read, ui.config(), found, max_age=5, key=("review", found.id, found.closed)
        )
    _head(found, me, result)
    for sentence in changes:
        ui.show_warning(sentence)
    votes_given = len({(one.item, one.reviewer) for one in judgements if not one.check})
    wanted = found.items * found.plan.reviews
    st.progress(min(1.0, votes_given / wanted), f"{votes_given:,} of {ui.counted(wanted, 'vote')}")
    people = Counter(reviewer for _, reviewer in {(one.item, one.reviewer) for one in judgements if not one.check})
    if people:
        st.caption(" · ".join(f"{short(name)} {count:,}" for name, count in people.most_common(20)))
    else:
        st.caption("Nobody has voted yet.")
    if judgements:
        results.show(found, judgements)
        talk_over.show(found, judgements, me)
    if not found.closed:
        _close(found, me, votes_given, wanted)


def _read(settings: Settings, found: Review) -> tuple[Result | None, Sequence[Judgement], list[str]]:
    result = closing.read_result(settings, found) if found.closed else None
    judgements = result.judgements if result else votes.read_judgements(settings, found, fresh=True)
    return result, judgements, closing.tell_changes(settings, found, result.digests if result else found.digests)


def _head(found: Review, me: Person, result: Result | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{short(found.plan.question, 500)}**", width="content")
        st.space("stretch")
        if found.state == "open" and found.plan.asks(me):
            links.button("Judge", found, "review_judge", icon=":material/how_to_vote:")
        st.button("All reviews", icon=":material/list:", key="review_stop", on_click=links.open_list)
    until = f" · until {from_ms(found.plan.deadline):%Y-%m-%d}" if found.plan.deadline else ""
    st.caption(
        f"{', '.join(map(short, found.refs))} on {short(found.prompt_set)} · {ui.counted(found.items, 'item')}, "
        f"{ui.counted(found.plan.reviews, 'vote')} each · by {short(found.by)}, {ui.ago(from_ms(found.when))}{until}"
    )
    if result is not None:
        st.success(
            f"Closed by {short(result.by)}, {ui.ago(from_ms(result.at))}: this result is sealed, and does not change.",
            icon=":material/verified:",
        )


def _close(found: Review, me: Person, given: int, wanted: int) -> None:
    with st.popover("Close the review", icon=":material/lock:", disabled=not given):
        missing = f" {ui.counted(wanted - given, 'vote')} {'is' if wanted - given == 1 else 'are'} still missing."
        st.markdown(f"Its result is fixed then, and no vote comes to it any more.{missing if given < wanted else ''}")
        if st.button("Close it for good", type="primary", key="review_close"):
            try:
                reads.wait_for("Closing: votes and files are read …", closing.close, ui.config(), found, me)
            except Phi3Error as error:
                ui.show_error(str(error))
            else:
                reads.invalidate()
                st.rerun()
