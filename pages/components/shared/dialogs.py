"""Carrying out what a dialog says: the result or the clear conflict is shown, and no typed reason is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

from phi3core.errors import Phi3Error

from . import known, ui
from .escape import literal
from .waiting import patiently

_SAID = "registry_said"
_MOVED = "The registry changed while this was open. Look again at what will happen now, then confirm it."


def reason(key: str, about: str, label: str = "Reason", placeholder: str = "Why, for the record") -> str:
    """A text that outlives its dialog: closed by accident, it is there when the same thing is opened again."""
    if st.session_state.get(f"{key}_about") != about:
        st.session_state[key], st.session_state[f"{key}_about"] = "", about
    text = st.text_area(label, placeholder=placeholder, key=key, height=80, max_chars=2000, persist_state="session")
    return (text or "").strip()


def do(change: Callable[[], str], *reasons: str) -> None:
    """Run a change in the dialog that is open. It returns the sentence that the page says when the dialog has closed.

    What it raises stays in the dialog, beside what was typed. reasons: the keys of the texts that have served then.
    """
    context = get_script_run_ctx()

    def ours() -> str:
        # In a thread of its own, so that leaving the page neither waits for it nor stops it halfway. It must still
        # know who is signed in.
        add_script_run_ctx(threading.current_thread(), context)
        return change()

    try:
        said = patiently("Changing the registry …", ours)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    finally:
        forget()
    for key in reasons:
        st.session_state.pop(f"{key}_about", None)
    st.session_state[_SAID] = said
    st.rerun()


def forget() -> None:
    """Drop what pages keep for some seconds, after something was changed."""
    ui.forget()
    known.forget()


def show_said() -> None:
    """What the dialog that has just closed did."""
    if said := st.session_state.pop(_SAID, ""):
        st.success(literal(said), icon=":material/check_circle:")


def still_true(key: str, about: str, lines: Sequence[str], pressed: bool) -> bool:
    """Whether a pressed button means what was on the screen: the registry may have changed since it was drawn.

    about: what was to be done. lines: what was said of it.
    """
    before, shown = st.session_state.get(key, (about, list(lines)))
    st.session_state[key] = about, list(lines)
    if pressed and before == about and shown != list(lines):
        ui.show_warning(_MOVED)
        return False
    return pressed


def bullets(lines: Sequence[str]) -> None:
    st.markdown("\n".join(f"- {line}" for line in lines))
