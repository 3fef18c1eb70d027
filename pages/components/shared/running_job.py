"""A job that runs: how far it is, and the button that stops it."""

from __future__ import annotations

from typing import Protocol

import streamlit as st

from phi3core.access.roles import Person


class Job(Protocol):
    id: str

    def stop(self, person: Person | None = None) -> None:
        """End it."""

    def may_be_stopped_by(self, person: Person) -> bool:
        """Whether the person may."""


def show(job: Job, share: float, text: str, key: str, me: Person) -> None:
    """Draw it. share: how much is done, 0 to 1. text: Markdown. key: what the button's key begins with."""
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    left.progress(share, text)
    right.button(
        "Stop", icon=":material/stop_circle:", key=f"{key}_{job.id}", on_click=job.stop, args=(me,),
        disabled=not job.may_be_stopped_by(me),
    )  # fmt: skip
