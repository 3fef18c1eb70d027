"""Home: where things stand, and what to do next."""

import streamlit as st

from pages.components import ui
from pages.components.builds import STATUS, line
from phi3core import jobs, keys, registry
from phi3core.errors import NotFound

st.title("Phi-3 Playground")
st.caption("Take a small language model from weights to Production, and talk to every version on the way.")

with ui.told():
    models = ui.models()
    builds = jobs.recent(ui.config(), limit=5)
in_production = [model for model in models if model.production]

if not models:
    with st.container(border=True):
        st.subheader("Build your first version", anchor=False)
        st.write("The registry is empty. The embedded model needs no network but PyPI and is ready in about a minute.")
        st.page_link("pages/build_page.py", label="Build the embedded model", icon=":material/construction:")
elif not in_production:
    with st.container(border=True):
        st.subheader("Nothing is in Production yet", anchor=False)
        st.write("Talk to the versions you have, then move the one that earned it to Production.")
        with st.container(horizontal=True):
            st.page_link("pages/chat_page.py", label="Talk to a version", icon=":material/chat:")
            st.page_link("pages/registry_page.py", label="Promote one", icon=":material/verified:")

if in_production:
    st.subheader("In Production", anchor=False)
    for model in in_production:
        with ui.told():
            try:
                version = registry.resolve(ui.config(), f"{model.name}/Production")
            except NotFound:
                continue  # moved out of Production since the models were read
        with st.container(border=True):
            speed = version.metrics.get(keys.TOKENS_PER_SECOND)
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{version.ref}** {ui.stage_badge('Production')} {ui.alias_badges(version)}")
                st.space("stretch")
                query = {"ref": f"{model.name}/Production"}
                st.page_link("pages/chat_page.py", label="Chat", icon=":material/chat:", query_params=query)
                query = {"model": model.name, "version": str(version.version)}
                st.page_link(
                    "pages/registry_page.py", label="Details", icon=":material/inventory_2:", query_params=query
                )
            facts = [ui.wrapper(version.wrapper), version.precision, ui.megabytes(version.size)]
            facts += [f"{speed:.0f} tokens/s"] if speed else []
            st.caption(" · ".join(fact for fact in facts if fact))

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
    count = f"{len(models)} registered model{'' if len(models) == 1 else 's'}"
    st.markdown(f":material/database: {ui.store_name(ui.config().tracking_uri)}")
    st.caption(f"{count}. Everything that lasts is in MLflow; this app has no database of its own.")

if any(model.name == keys.DEMO_MODEL for model in models):
    st.info(ui.EMBEDDED_NOTE, icon=":material/info:")
