"""The tab that says what a version lost against the weights it came from, and what its model trades for it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.registry import parity_view, trade_off, version_job
from pages.components.shared import ui
from phi3core.build import jobs, measure_again
from phi3core.build.parity import parity
from phi3core.registry.models import Version

_HINT = (
    "It and the weights that it was built from read the same 4,000 tokens on the machine that runs this app, and "
    "answer twenty prompts. It takes a minute for a small model, and as much memory as its weights."
)


def show(version: Version, listed: Sequence[Version]) -> None:
    trade_off.show(listed, version.version)
    with ui.show_errors():
        found = parity_view.read(version)
        for one in found:
            parity_view.show(one)
        if not found:
            st.caption("Nobody has held it against the weights that it was built from yet.")
    refusal = measure_again.why_not(version) or parity.why_no_source(version)
    start = lambda: jobs.start_parity(ui.config(), version.ref, "", ui.person())  # noqa: E731
    version_job.show(version, "parity", "Hold it against its source", _HINT, refusal, start)
