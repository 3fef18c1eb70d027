"""The page table, nothing else."""

import streamlit as st

# An image of our own: Streamlit fetches an icon by name from a font server on the internet.
st.set_page_config(page_title="Phi-3 Playground", page_icon="assets/icon.png", layout="wide")
st.logo("assets/icon.png", size="large")

page = st.navigation(
    [
        st.Page("pages/home_page.py", title="Home", icon=":material/home:", url_path="home", default=True),
        st.Page("pages/chat_page.py", title="Chat", icon=":material/chat:", url_path="chat"),
        st.Page(
            "pages/conversations_page.py", title="Conversations", icon=":material/forum:", url_path="conversations"
        ),
        st.Page("pages/registry_page.py", title="Registry", icon=":material/inventory_2:", url_path="registry"),
        st.Page("pages/build_page.py", title="Build", icon=":material/construction:", url_path="build"),
    ]
)
page.run()
