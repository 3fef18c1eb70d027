"""Home: where things stand, and what to do next."""

import streamlit as st

from pages.components.build.build_card import STATUS, line
from pages.components.shared import reads, ui
from phi3core import tags
from phi3core.build import jobs
from phi3core.build.job import Job
from phi3core.registry import reader
from phi3core.registry.models import ModelPage
from phi3core.text import plural

st.title("Phi-3 Playground", anchor=False)
st.caption("Take a small language model from weights to Production, and talk to every version on the way.")

_MOST = 8


def _read() -> tuple[ModelPage, list[Job]]:
    return reader.search_models(ui.config(), limit=100), jobs.list_recent(ui.config(), limit=5)


with ui.stop_on_error():
    page, builds = reads.wait_for("Reading the store …", _read)
models = [row.model for row in page.summaries]
in_production = [row for row in page.summaries if row.model.production]

if not models:
    with st.container(border=True):
        st.subheader("Build your first version", anchor=False)
        st.write("The registry is empty. The embedded model needs no network but PyPI and is ready in about a minute.")
        st.page_link("pages/build_page.py", label="Build the embedded model", icon=":material/construction:")
elif not in_production and not page.next_page_token:
    with st.container(border=True):
        st.subheader("Nothing is in Production yet", anchor=False)
        st.write("Talk to the versions you have, then move the one that earned it to Production.")
        with st.container(horizontal=True):
            st.page_link("pages/chat_page.py", label="Talk to a version", icon=":material/chat:")
            st.page_link("pages/registry_page.py", label="Promote one", icon=":material/verified:")

if in_production:
    st.subheader("In Production", anchor=False)
    for row in in_production[:_MOST]:
        model, version = row.model, row.version
        with st.container(border=True):
            ref = f"{model.name}/{model.production}"
            known = version if version is not None and version.ref == ref else None
            aliases = ui.alias_badges(known) if known else ""
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{ref}** {ui.stage_badge('Production')} {aliases}")
                st.space("stretch")
                query = {"ref": f"{model.name}/Production"}
                st.page_link("pages/chat_page.py", label="Chat", icon=":material/chat:", query_params=query)
                query = {"model": model.name, "version": str(model.production)}
                st.page_link(
                    "pages/registry_page.py", label="Details", icon=":material/inventory_2:", query_params=query
                )
            if known:
                speed = known.metrics.get(tags.TOKENS_PER_SECOND)
                facts = [ui.wrapper(known.wrapper), known.precision, ui.megabytes(known.size)]
                facts += [f"{speed:.0f} tokens/s"] if speed else []
                st.caption(" · ".join(fact for fact in facts if fact))
    if len(in_production) > _MOST or page.next_page_token:
        st.page_link(
            "pages/registry_page.py", label="All in Production", icon=":material/inventory_2:",
            query_params={"stage": "Production"},
        )  # fmt: skip

left, right = st.columns([3, 2], gap="large")
with left:
    st.subheader("Recent builds", anchor=False)
    if not builds:
        st.caption("No builds yet.")
    for job in builds:
        icon, word = STATUS[job.status]
        st.markdown(f"{icon} {line(job)} :gray[· {word} {ui.ago(job.started)}]")
    if builds:
        st.page_link("pages/build_page.py", label="All builds", icon=":material/construction:")
with right:
    st.subheader("Store", anchor=False)
    more = "more than " if page.next_page_token else ""
    count = f"{more}{len(models)} {plural(len(models), 'registered model')}".capitalize()
    st.markdown(f":material/database: {ui.store_name(ui.config().tracking_uri)}")
    st.caption(f"{count}. Everything that lasts is in MLflow; this app has no database of its own.")

if any(model.name == tags.DEMO_MODEL for model in models):
    st.info(ui.EMBEDDED_NOTE, icon=":material/info:")
