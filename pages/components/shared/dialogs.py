"""What the dialogs that change something share: the change and its result or conflict, and a reason that lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

from phi3core.errors import Phi3Error

from . import reads, ui
from .escape import escape

_RESULT = "dialog_result"
_MOVED = "The registry changed while this was open. Look again at what will happen now, then confirm it."


def reason_input(key: str, about: str, label: str = "Reason", placeholder: str = "Why, for the record") -> str:
    """A text that outlives its dialog: closed by accident, it is there when the same thing is opened again."""
    if st.session_state.get(f"{key}_about") != about:
        st.session_state[key], st.session_state[f"{key}_about"] = "", about
    text = st.text_area(label, placeholder=placeholder, key=key, height=80, max_chars=2000, persist_state="session")
    return (text or "").strip()


def run(change: Callable[[], str], *reasons: str) -> None:
    """Make a change from the dialog that is open, which closes when it is made.

    Args:
        change: Makes the change and returns the sentence that the page says then. One of our errors is shown in the
            dialog, beside what was typed.
        reasons: The keys of the reasons that are used up by the change.
    """
    context = get_script_run_ctx()

    def ours() -> str:
        # Leaving the page neither waits for this thread nor stops it halfway. It must still know who is signed in.
        add_script_run_ctx(threading.current_thread(), context)
        return change()

    try:
        result = reads.wait_for("Changing the registry …", ours)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    finally:
        reads.invalidate()
    for key in reasons:
        st.session_state.pop(f"{key}_about", None)
    set_result(result)
    st.rerun()


def set_result(sentence: str, done: bool = True) -> None:
    """Have the page say it when it is drawn next, without the dialog. done: whether what was wanted was done."""
    st.session_state[_RESULT] = (sentence, done)


def show_result() -> bool:
    """Say what the dialog that has just closed did. Returns whether it did it."""
    sentence, done = st.session_state.pop(_RESULT, ("", False))
    if done:
        st.success(escape(sentence), icon=":material/check_circle:")
    elif sentence:
        ui.show_warning(sentence)
    return bool(done)


def still_as_shown(key: str, about: str, lines: Sequence[str], pressed: bool) -> bool:
    """Whether the button was pressed for what will happen now: the registry may have changed since it was drawn.

    Args:
        key: Of the session state, where what was shown is kept.
        about: What is to be done.
        lines: What the dialog says will happen.
        pressed: Whether the button was pressed in this run.
    """
    before, shown = st.session_state.get(key, (about, list(lines)))
    st.session_state[key] = about, list(lines)
    if pressed and before == about and shown != list(lines):
        ui.show_warning(_MOVED)
        return False
    return pressed


def bullets(lines: Sequence[str]) -> None:
    st.markdown("\n".join(f"- {line}" for line in lines))
