"""Signing in and out: the sign-in page, the page of a person without a role, and the line in the sidebar."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st

from phi3core.access.login import load_login
from phi3core.access.roles import Person
from phi3core.errors import Phi3Error
from phi3core.serving.gateway.front import SIGN_IN_FAILED

from . import ui
from .escape import short


def visitor() -> Person | Phi3Error | None:
    """The person who looks; None before the sign-in; the error where that can't be found out."""
    try:
        return ui.visitor()
    except Phi3Error as error:
        return error


def show_sign_in() -> None:
    """The sign-in page. The sign-in leads back to the address that is open now."""
    with _sheet():
        st.title("Phi-3 Playground", anchor=False)
        if st.context.cookies.get(SIGN_IN_FAILED):
            st.warning("The sign-in did not work. Try again, or ask your administrator.", icon=":material/warning:")
        login = load_login(ui.config())
        provider = (urlsplit(login.server_metadata_url).hostname if login else "") or ""
        st.markdown("Sign in to go on.")
        if st.button("Sign in", type="primary", icon=":material/login:", key="sign_in", width="stretch"):
            st.login()
        st.caption(f"It takes you to {short(provider)} and back to this page.")


def show_trouble(error: Phi3Error) -> None:
    """The page where it can't be found out who looks."""
    with _sheet():
        st.title("Phi-3 Playground", anchor=False)
        ui.show_error(str(error))
        with st.container(horizontal=True):
            st.button("Try again", icon=":material/refresh:", key="sign_in_again")
            if ui.claims():
                _sign_out()


def show_no_role(person: Person) -> None:
    """The page of a person who has signed in and has no role."""
    with _sheet():
        st.title("Phi-3 Playground", anchor=False)
        st.markdown(
            f"**{short(person.name)}** has no role here. Ask your administrator for one, then reload this page."
        )
        _sign_out()


def show_person(person: Person) -> None:
    """Name and role in the sidebar; nothing for the single user of a machine, who may do everything."""
    login = load_login(ui.config())
    if not login and person.may("admin"):
        return
    with st.sidebar.container(key="who", gap="small"):
        st.markdown(f":material/person: {short(person.name, 60)} :gray-badge[{person.role}]")
        if login:
            _sign_out()


def _sign_out() -> None:
    if st.button("Sign out", icon=":material/logout:", key="sign_out", type="tertiary"):
        st.logout()


def _sheet() -> st.delta_generator.DeltaGenerator:
    """A narrow column in the middle of the page."""
    return st.columns([1, 1.4, 1])[1].container(key="sign_in_sheet")
