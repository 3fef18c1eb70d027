"""The vote: buttons where a thumb reaches them, and keys for those who have a keyboard.

What is pressed is noted by a callback, and kept in the run of the page that follows, which shows that it waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import streamlit as st

from pages.components.shared.escape import short
from phi3core.evaluation.reviews.sight import Sight
from phi3core.evaluation.reviews.votes import LONGEST
from phi3core.traces.acts import Value

_PRESSED = "review_pressed"  # of session_state
_RATED = "review_rated"  # of session_state: the key of what is shown, and the marks so far


@dataclass(frozen=True)
class Pressed:
    """What was pressed. key: of what was shown (`Sight.key`). undo: the last vote is taken back."""

    key: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    comment: str = ""
    undo: bool = False


def take_pressed() -> Pressed | None:
    """What was pressed since the last run of the page; it is told once."""
    found: Pressed | None = st.session_state.pop(_PRESSED, None)
    return found


def show(shown: Sight, may_undo: bool) -> None:
    """Draw the buttons, at the bottom of the page but for the marks, which may be many."""
    marks = _marks(shown) if shown.form == "rating" else {}
    with st.bottom:
        if shown.form == "text":
            _text(shown)
        else:
            st.text_input(
                "Why?", key=_comment_key(shown), placeholder="Why? (may stay empty)", label_visibility="collapsed",
                max_chars=LONGEST,
            )  # fmt: skip
        if shown.form == "pairwise":
            _pair(shown)
        elif shown.form == "pass":
            _pass(shown)
        elif shown.form == "rating":
            st.button(
                "Keep it, and go on", key=f"review_keep_{shown.key}", type="primary", shortcut="K", width="stretch",
                disabled=len(marks) < len(shown.criteria), on_click=_press,
                args=(shown.key, marks, _comment_key(shown)),
            )  # fmt: skip
        if may_undo:
            show_undo()


def show_undo() -> None:
    """The button that takes the last vote back."""
    st.button(
        "Take the last vote back", icon=":material/undo:", key="review_undo", type="tertiary", shortcut="U",
        on_click=_note, args=(Pressed(undo=True),),
    )  # fmt: skip


def _pair(shown: Sight) -> None:
    with st.container(horizontal=True, gap="small", key="review_vote"):
        _button(shown, "1 is better", "first", "1", primary=True)
        _button(shown, "2 is better", "second", "2", primary=True)
    with st.container(horizontal=True, gap="small", key="review_vote_neither"):
        _button(shown, "As good", "tie", "T")
        _button(shown, "Both bad", "bad", "B")


def _pass(shown: Sight) -> None:
    with st.container(horizontal=True, gap="small", key="review_vote"):
        _button(shown, "Pass", "pass", "P", primary=True)
        _button(shown, "Fail", "fail", "F", primary=True)


def _marks(shown: Sight) -> dict[str, Value]:
    """The marks by criterion, as far as they are given; the keys are for the first one that has none."""
    key, marks = st.session_state.get(_RATED, ("", {}))
    given: dict[str, Value] = marks if key == shown.key else {}
    asked = next((name for name in shown.criteria if name not in given), "")
    for at, name in enumerate(shown.criteria):
        st.caption(f"**{short(name)}**, 1 is poor, 5 is very good" if name == asked else short(name))
        with st.container(horizontal=True, gap="xsmall", key=f"review_marks_{at}"):
            for mark in range(1, 6):
                st.button(
                    str(mark), key=f"review_mark_{shown.key}_{at}_{mark}", width="stretch",
                    type="primary" if given.get(name) == mark else "secondary",
                    shortcut=str(mark) if name == asked else None, on_click=_mark, args=(shown.key, name, mark),
                )  # fmt: skip
    return given


def _text(shown: Sight) -> None:
    with st.form(f"review_text_{shown.key}", border=False):
        st.text_area(
            "What do you say of it?", key=_comment_key(shown), placeholder="What do you say of it?",
            label_visibility="collapsed", max_chars=LONGEST, height=90,
        )  # fmt: skip
        st.form_submit_button(
            "Keep it, and go on", type="primary", width="stretch", on_click=_press_text,
            args=(shown.key, _comment_key(shown)), help="Ctrl+Enter does the same.",
        )  # fmt: skip


def _button(shown: Sight, label: str, value: Value, key: str, primary: bool = False) -> None:
    # Keyed by what is shown: of a second press, before the next one is drawn, nothing comes.
    st.button(
        label, key=f"review_vote_{value}_{shown.key}", shortcut=key, type="primary" if primary else "secondary",
        width="stretch", on_click=_press, args=(shown.key, {"": value}, _comment_key(shown)),
    )  # fmt: skip


def _comment_key(shown: Sight) -> str:
    return f"review_comment_{shown.key}"


def _press(key: str, values: dict[str, Value], comment_key: str) -> None:
    _note(Pressed(key, values, st.session_state.get(comment_key) or ""))


def _press_text(key: str, text_key: str) -> None:
    _note(Pressed(key, {"": st.session_state.get(text_key) or ""}))


def _note(pressed: Pressed) -> None:
    st.session_state[_PRESSED] = pressed


def _mark(key: str, name: str, mark: int) -> None:
    kept, marks = st.session_state.get(_RATED, ("", {}))
    st.session_state[_RATED] = (key, {**(marks if kept == key else {}), name: mark})
