"""What several versions of one source trade, once they are built."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.registry import trade_off
from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core import tags
from phi3core.build import jobs, measure_again
from phi3core.build.job import Job
from phi3core.build.parity import parity
from phi3core.errors import NotFound
from phi3core.registry import reader
from phi3core.registry.models import Version

_FRESH = 5.0  # seconds
_HINT = (
    "Each and the weights that they were built from read the same 4,000 tokens and answer twenty prompts, one version "
    "after the other."
)


def show(listed: Sequence[Job]) -> None:
    """The plot, where the newest build that has ended and another one made versions of one model from one source.

    listed: jobs, newest first.
    """
    done = [job for job in listed if job.status == "FINISHED" and not job.about]
    same = [job for job in done if (job.spec.name, job.spec.source) == (done[0].spec.name, done[0].spec.source)]
    if len(same) < 2:
        return
    name = same[0].spec.name
    with ui.show_errors():
        try:
            versions = reads.read("Reading the versions …", reader.list_versions, ui.config(), name, max_age=_FRESH)
        except NotFound:  # it was deleted since
            return
        built = {job.version for job in same}
        asked = {job.about for job in listed if job.running and job.kind == "parity"}
        unknown = [version for version in versions if version.version in built and _can_be_compared(version, asked)]
        with st.expander(f"What the versions of {short(name)} trade", icon=":material/scatter_plot:", expanded=True):
            trade_off.show(versions)
            if unknown and ui.person().may("releaser"):
                _offer(sorted(unknown, key=lambda version: version.version))


def _can_be_compared(version: Version, asked: set[str]) -> bool:
    """Whether it can be held against its source and neither was nor is."""
    known = tags.PARITY_KL in version.metrics or version.ref in asked
    return not (known or measure_again.why_not(version) or parity.why_no_source(version))


def _offer(versions: Sequence[Version]) -> None:
    st.caption(f"Not held against what they were built from yet: {', '.join(short(v.ref) for v in versions)}.")
    if st.button("Hold them against their source", icon=":material/compare_arrows:", key="ladder_parity", help=_HINT):
        with st.spinner("Starting …"):
            before = ""
            for version in versions:
                before = jobs.start_parity(ui.config(), version.ref, "", ui.person(), after=before)
        st.rerun()
