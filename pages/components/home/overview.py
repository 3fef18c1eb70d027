"""The parts of Home: what waits for the visitor, what is in Production, what changed, and the builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from pages.components.build.build_card import line, status
from pages.components.shared import ui
from pages.components.shared.escape import escape, short
from phi3core import tags
from phi3core.access.roles import Person
from phi3core.build.job import Job
from phi3core.evaluation.reviews.waiting import Waiting
from phi3core.promotion.policy.request_status import Request
from phi3core.promotion.record.model import Record
from phi3core.registry.models import ModelSummary
from phi3core.text import plural
from phi3core.timestamps import from_ms

MOST = 8
"""Of each list, at most so many are shown."""
_CHANGES = 6


def requests_for(person: Person, waiting: Sequence[Request]) -> list[Request]:
    """Those that wait for this person: to be decided on by a reviewer, or to be moved by a releaser."""
    return [r for r in waiting if person.may("releaser") or (person.may("reviewer") and r.status == "open")]


def waits(person: Person, waiting: Sequence[Request]) -> None:
    """The requests that wait for this person, each with the way to decide."""
    mine = requests_for(person, waiting)
    if not mine:
        return
    for request in mine[:MOST]:
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"home_wait_{request.id}"):
            with st.container():
                badge = f":{'green' if request.status == 'approved' else 'blue'}-badge[{request.status}]"
                st.markdown(f"**{short(request.ref)}** → {ui.stage_badge(request.stage)} {badge}")
                st.caption(f"{short(request.by)}, {ui.ago(request.when)}: {short(request.reason, 160)}")
            verb = "Move" if request.status == "approved" else "Decide"
            if st.button(verb, icon=":material/how_to_reg:", type="primary", key=f"home_decide_{request.id}"):
                query = {"view": "requests", "model": request.model}
                st.switch_page("pages/promotions_page.py", query_params=query)
    if len(mine) > MOST:
        st.page_link("pages/promotions_page.py", label=f"All {len(mine)} requests", icon=":material/front_hand:")


def reviews(waiting: Waiting) -> None:
    """The reviews in which items wait for this person, and the comments that call them."""
    for one, progress in waiting.reviews[:MOST]:
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"home_review_{one.id}"):
            with st.container():
                st.markdown(f"**{short(one.plan.question, 160)}**")
                st.caption(f"{short(one.by)} asks: {progress.waiting:,} wait for you, {progress.done:,} done")
            if st.button("Judge", icon=":material/how_to_vote:", type="primary", key=f"home_judge_{one.id}"):
                st.switch_page("pages/review_page.py", query_params={"r": one.id})
    for one, said in waiting.calls[:MOST]:
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"home_call_{said.at}"):
            with st.container():
                st.markdown(f"{short(said.by)} calls you, {ui.ago(from_ms(said.at))}: {short(said.text, 200)}")
            if st.button("Look", icon=":material/forum:", key=f"home_look_{said.at}"):
                st.switch_page("pages/review_page.py", query_params={"r": one.id, "view": "results"})


def compare(refs: Sequence[str]) -> None:
    """The offer to compare two versions. refs: empty where there are no two."""
    if not refs:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="home_compare"):
        one, other = map(short, refs)
        st.markdown(f"Does {one} or {other} answer better? Ask both, and vote before you know whose answer is whose.")
        if st.button("Compare them", icon=":material/compare:", key="home_compare_them"):
            st.switch_page("pages/compare_page.py", query_params={"with": list(refs)})


def production(rows: Sequence[ModelSummary], arrivals: Mapping[str, Record], more: bool) -> None:
    """The versions in Production and since when.

    Args:
        arrivals: by a version's reference, the move that brought it there.
        more: whether there are other models.
    """
    for row in rows[:MOST]:
        _in_production(row, arrivals)
    if len(rows) > MOST or more:
        st.page_link(
            "pages/registry_page.py", label="All in Production", icon=":material/inventory_2:",
            query_params={"stage": "Production"},
        )  # fmt: skip


def _in_production(row: ModelSummary, arrivals: Mapping[str, Record]) -> None:
    model, version = row.model, row.version
    ref = f"{model.name}/{model.production}"
    known = version if version is not None and version.ref == ref else None
    with st.container(border=True, key=f"home_production_{model.name}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            badges = ui.contrary_badge(known) + ui.alias_badges(known) if known else ""
            st.markdown(f"**{short(ref)}** {ui.stage_badge('Production')} {badges}")
            st.space("stretch")
            if st.button("Chat", icon=":material/chat:", type="primary", key=f"home_chat_{model.name}"):
                st.switch_page("pages/chat_page.py", query_params={"ref": f"{model.name}/Production"})
            if st.button("Details", icon=":material/inventory_2:", key=f"home_details_{model.name}"):
                query = {"model": model.name, "version": str(model.production)}
                st.switch_page("pages/registry_page.py", query_params=query)
        speed = known.metrics.get(tags.TOKENS_PER_SECOND) if known else None
        moved = arrivals.get(ref)
        facts = [f"moved there {ui.ago(moved.started)} by {short(moved.user)}" if moved else ""]
        facts += ["by MLflow’s stage alone: its page offers to adopt it"] if known and known.lacks_alias else []
        facts += [ui.wrapper(known.wrapper), short(known.precision), ui.size(known.size)] if known else []
        facts += [f"{ui.speed(speed)} {ui.measured(known)}"] if known and speed else []
        st.caption(" · ".join(fact for fact in facts if fact))


def changes(records: Sequence[Record]) -> None:
    """What was done last, newest first. records: the newest, of all models."""
    for record in records[:_CHANGES]:
        failed = "" if record.status == "done" else f" :orange-badge[{record.status}]"
        st.markdown(f"{escape(record.says)}{failed} :gray[· {short(record.user)}, {ui.ago(record.started)}]")
    if records:
        st.page_link(
            "pages/promotions_page.py", label="The whole record", icon=":material/history_edu:",
            query_params={"view": "record"},
        )  # fmt: skip
    else:
        st.caption("Nothing was promoted or asked for yet.")


def builds(listed: Sequence[Job]) -> None:
    """The builds, newest first; those that failed in one line."""
    failed = [job for job in listed if job.status == "FAILED"]
    for job in listed:
        if job in failed[1:]:
            continue
        icon, word = status(job)
        more = f" and {len(failed) - 1} more before it" if job in failed and len(failed) > 1 else ""
        st.markdown(f"{icon} {line(job)} :gray[· {word} {ui.ago(job.started)}{more}]")
    if listed:
        st.page_link("pages/build_page.py", label="All builds", icon=":material/construction:")
    else:
        st.caption("No builds yet.")


def store(count: int, more: bool) -> None:
    """Where all of it is kept. count: registered models; more: there are others."""
    words = f"{'more than ' if more else ''}{count} {plural(count, 'registered model')}".capitalize()
    st.markdown(f":material/database: {short(ui.store_name(ui.config().tracking_uri), 250)}")
    st.caption(f"{words}. Everything that lasts is in MLflow; this app has no database of its own.")
