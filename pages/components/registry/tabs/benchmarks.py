"""The tab with what public benchmarks have come to on a version, and where one is begun."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.components.shared import live_part, reads, running_job, ui
from pages.components.shared.escape import escape, short
from phi3core.evaluation.benchmarks import jobs, scores
from phi3core.evaluation.benchmarks.harness import HARNESS
from phi3core.evaluation.benchmarks.jobs import BenchmarkJob
from phi3core.evaluation.benchmarks.scores import INTERVAL, Score, Value
from phi3core.evaluation.benchmarks.suites import SUITES, find_suite
from phi3core.registry.models import Version

_FRESH = 5.0  # seconds


def show(version: Version) -> None:
    running = any(job.state == "running" for job in jobs.of_version(version.ref))
    live_part.draw(_jobs, version.ref, running, every=1.0 if running else None)
    with ui.show_errors():
        found = reads.read("Reading the scores …", scores.read_scores, ui.config(), version, max_age=_FRESH)
        if found:
            _table(found)
        else:
            st.caption("No benchmark has been run on this version yet.")
    _start(version)


def _table(found: list[Score]) -> None:
    rows = [
        {
            "Benchmark": escape(score.label),
            "Metric": f"**{escape(name)}**" if name == score.metric else escape(name),
            "Value": f"{value.value:.3f}",
            "95 % interval": _interval(value),
            "Items": f"{score.items:,}",
            "Task": escape(score.task_version),
            "Seed": str(score.seed),
            "When": f"{score.when:%Y-%m-%d}",
        }
        for score in found
        for name, value in sorted(score.metrics.items(), key=lambda one: (one[0] != score.metric, one[0]))
    ]
    st.table(pd.DataFrame(rows).set_index("Benchmark"), border="horizontal")
    st.caption("In bold: the metric that the benchmark is known by. All are metrics of the version’s run: see Compare.")
    for score in found:
        st.caption(f"{short(score.label)}: {short(score.data, 300)}. By {short(score.harness)}, for {short(score.by)}.")


def _interval(value: Value) -> str:
    if value.error is None:
        return "not told"
    return f"{value.value - INTERVAL * value.error:.3f} to {value.value + INTERVAL * value.error:.3f}"


def _start(version: Version) -> None:
    me = ui.person()
    st.markdown("**Run a benchmark**")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Benchmark", [suite.name for suite in SUITES], key="benchmark_suite", width=240)
        limit = st.number_input("Items at most", 0, 10_000, 0, key="benchmark_limit", width=160, help="0: all of them.")
        seed = st.number_input("Seed", 0, 2**31 - 1, 1, key="benchmark_seed", width=140)
        hub = st.checkbox("All of it, from the Hugging Face hub", key="benchmark_hub")
        pressed = st.button(
            "Run", icon=":material/play_arrow:", key="benchmark_start", disabled=not me.may("releaser"),
            help=None if me.may("releaser") else "Running a benchmark needs the role releaser.",
        )  # fmt: skip
    suite = find_suite(name)
    st.caption(
        f"{escape(suite.origin)}. Licence: {escape(suite.licence)}. The items come from {escape(suite.wheel.pin)} on "
        f"PyPI, of which only the data is read; the harness is {HARNESS}, in an environment of its own, which takes "
        "670 MB and some minutes the first time."
    )
    if pressed:
        with ui.show_errors():
            arguments = (ui.config(), ui.servers(), version.ref, name, int(limit) or None, int(seed), hub, me)
            reads.wait_for("Looking at the version …", jobs.start, *arguments)
            st.rerun()


def _jobs(by_itself: bool, ref: str, running: bool) -> None:
    listed = jobs.of_version(ref)
    for job in listed:
        _job(job)
    if by_itself and running and not any(job.state == "running" for job in listed):
        reads.invalidate()  # the version has scores now
        st.rerun()


def _job(job: BenchmarkJob) -> None:
    if job.state == "running":
        running_job.show(job, job.share or 0.0, f"{job.suite}: {escape(job.text)}", "benchmark_stop", ui.person())
    elif job.state == "failed":
        ui.show_error(f"{job.suite}: {job.error}")
    elif job.state == "stopped":
        st.caption(f":material/stop_circle: {job.suite}: {escape(job.error)}")
