"""Home: what waits, where things stand, and what changed."""

from dataclasses import dataclass

import streamlit as st

from pages.components.compare.candidates import suggested
from pages.components.home import charts, overview
from pages.components.registry.list_view import started_index
from pages.components.shared import live_part, reads, ui
from phi3core import tags
from phi3core.access.roles import Person
from phi3core.build import jobs
from phi3core.build.job import Job
from phi3core.evaluation.reviews.waiting import Waiting, read_waiting
from phi3core.promotion.policy import requests
from phi3core.promotion.policy.request_status import Request
from phi3core.promotion.record import search
from phi3core.promotion.record.model import Record
from phi3core.registry import reader
from phi3core.registry.models import ModelPage
from phi3core.traces import use

_FRESH = 30.0  # seconds


@dataclass(frozen=True)
class _Now:
    page: ModelPage
    builds: list[Job]
    records: tuple[Record, ...]
    waiting: list[Request]
    arrivals: dict[str, Record]
    """By the reference of a version in Production: the move that brought it there."""


def _read() -> _Now:
    config = ui.config()
    page, builds = reader.search_models(config, limit=100), jobs.list_recent(config, limit=5)
    records, arrivals = search.page(config, limit=50).records, {}
    for model in [row.model for row in page.summaries if row.model.production][: overview.MOST]:
        if model.production and (
            moved := search.last_arrival(config, model.name, model.production, "Production", records)
        ):
            arrivals[moved.ref] = moved
    return _Now(page, builds, records, requests.waiting(config), arrivals)


@st.fragment
def _use() -> None:
    with ui.show_errors():
        charts.use(reads.read("Counting answers …", use.count_answers, ui.config(), max_age=_FRESH))


def _await_reviews(by_itself: bool, me: Person) -> None:
    """What waits in reviews, where it is not known yet: Home does not wait for it, and is drawn anew when it is."""
    found = reads.latest(read_waiting, ui.config(), me, max_age=10, patience=0)
    if by_itself and found.value is not None:
        st.rerun()
    if found.pending:
        st.caption(":material/progress_activity: Looking what waits for you in reviews …")


st.title("Phi-3 Playground", anchor=False)
st.caption("Take a small language model from weights to Production, and talk to every version on the way.")
with ui.stop_on_error():
    now = reads.wait_for("Reading the store …", _read)
models = [row.model for row in now.page.summaries]
in_production = [row for row in now.page.summaries if row.model.production]
more = bool(now.page.next_page_token)

me = ui.person()
known = reads.latest(read_waiting, ui.config(), me, max_age=10).value
reviews = known or Waiting()
if count := len(overview.requests_for(me, now.waiting)) + len(reviews.reviews) + len(reviews.calls):
    st.subheader(f"Waits for you · {count}", anchor=False)
overview.waits(me, now.waiting)
overview.reviews(reviews)
if known is None:
    live_part.draw(_await_reviews, me, every=1.0)
if not models:
    with st.container(border=True):
        st.subheader("Build your first version", anchor=False)
        st.write("The registry is empty. The embedded model needs no network but PyPI and is ready in about a minute.")
        if st.button("Build the embedded model", icon=":material/construction:", type="primary", key="home_build"):
            st.switch_page("pages/build_page.py")
elif not in_production and not more:
    with st.container(border=True):
        st.subheader("Nothing is in Production yet", anchor=False)
        st.write("Talk to the versions you have, then move the one that earned it to Production.")
        with st.container(horizontal=True):
            if st.button("Talk to a version", icon=":material/chat:", type="primary", key="home_talk"):
                st.switch_page("pages/chat_page.py")
            if st.button("Promote one", icon=":material/verified:", key="home_promote"):
                st.switch_page("pages/registry_page.py")

if models:
    overview.compare(suggested(started_index().search(sort="created", per_page=200).versions))
if in_production:
    st.subheader("In Production", anchor=False)
    overview.production(in_production, now.arrivals, more)

left, right = st.columns(2, gap="large")
with left:
    st.subheader("What changed", anchor=False)
    overview.changes(now.records)
with right:
    st.subheader("Recent builds", anchor=False)
    overview.builds(now.builds)
if models:
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Speed of versions", anchor=False)
        charts.speed(started_index().search(sort="created", per_page=200).versions)
        st.caption("Each as it was measured last; its page says where. A larger point is in Production; click one.")
    with right:
        st.subheader("Use of versions", anchor=False)
        _use()
st.subheader("Store", anchor=False)
overview.store(len(models), more)
if any(model.name == tags.DEMO_MODEL for model in models):
    st.info(ui.EMBEDDED_NOTE, icon=":material/info:")
