"""The page table. No page is drawn before the sign-in."""

import base64
from pathlib import Path

import streamlit as st

from pages.components.shared import login
from phi3core.access.roles import Person

# An image of our own: Streamlit fetches an icon by name from a font server on the internet. In the page itself: no
# file is served before the sign-in.
icon = "data:image/png;base64," + base64.b64encode(Path("assets/icon.png").read_bytes()).decode()
st.set_page_config(page_title="Phi-3 Playground", page_icon=icon, layout="wide")
st.logo(icon, size="large")
# Streamlit cuts a link that is too long without an ellipsis: it gives one to what holds the text, not to the text.
st.html("<style>[data-testid='stPageLink-NavLink'] p { overflow: hidden; text-overflow: ellipsis }</style>")

visitor = login.visitor()
inside = isinstance(visitor, Person) and visitor.may("viewer")
page = st.navigation(
    [
        st.Page("pages/home_page.py", title="Home", icon=":material/home:", url_path="home", default=True),
        st.Page("pages/chat_page.py", title="Chat", icon=":material/chat:", url_path="chat"),
        st.Page("pages/compare_page.py", title="Compare", icon=":material/compare:", url_path="compare"),
        st.Page("pages/prompt_sets_page.py", title="Prompt sets", icon=":material/list_alt:", url_path="prompt-sets"),
        st.Page("pages/evaluate_page.py", title="Evaluate", icon=":material/checklist:", url_path="evaluate"),
        st.Page("pages/review_page.py", title="Review", icon=":material/rate_review:", url_path="review"),
        st.Page(
            "pages/conversations_page.py", title="Conversations", icon=":material/forum:", url_path="conversations"
        ),
        st.Page("pages/registry_page.py", title="Registry", icon=":material/inventory_2:", url_path="registry"),
        st.Page("pages/promotions_page.py", title="Promotions", icon=":material/verified:", url_path="promotions"),
        st.Page("pages/build_page.py", title="Build", icon=":material/construction:", url_path="build"),
    ],
    position="sidebar" if inside else "hidden",  # a deep link is known all the same, and stays in the address
)
match visitor:
    case Person() if inside:
        login.show_person(visitor)
        page.run()
    case Person():
        login.show_no_role(visitor)
    case None:
        login.show_sign_in()
    case error:
        login.show_trouble(error)
