"""Where a version's figures come from, and Measure again."""

from __future__ import annotations

import json
import os

import pytest
import streamlit as st

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.build import jobs
from phi3core.promotion.promote import promote
from phi3core.registry import reader
from phi3core.registry.conditions import Conditions
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.builds import past_build, running_build
from tests.app.conftest import Open, Register
from tests.app.registry import said, tables
from tests.build.job_runs import start_of_this_process
from tests.support import fakes
from tests.support.conditions import BUSY, QUIET

WHERE = "on AMD EPYC <b>9R14</b>, 2 cores, 3 % busy, 28 Nov 2026"


def measured(settings: Settings, ref: str, conditions: Conditions, speed: float = 150.0, step: int = 1) -> None:
    """Record a measurement of the version."""
    run_id, store = reader.get_version(settings, ref).run_id, mlflow_client(settings)
    store.log_metric(run_id, tags.TOKENS_PER_SECOND, speed, step=step)
    for name, value in conditions.as_tag(step).items():
        store.set_tag(run_id, name, value)


def test_the_figures_say_where_they_come_from(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    at = open_page("registry", model="phi3", version="1")
    assert "Measured when it was built; on which machine was not recorded." in said(at)
    measured(settings, "phi3/1", QUIET)
    promote(settings, "phi3/1", "Production")
    st.cache_resource.clear()  # as after some seconds
    at = open_page("registry", model="phi3", version="1", tab="Metrics")
    assert not at.exception
    assert at.metric[0].value == "150 tokens/s"
    assert f"Measured {WHERE}." in said(at)
    assert "24.0 GB" in tables(at)
    plot = json.loads(at.get("plotly_chart")[-1].proto.spec)["data"][0]
    assert (list(plot["x"]), list(plot["y"])) == ([0, 1], [123.4, 150.0])
    assert "over the measurements of phi3/1" in said(at)
    assert f"150 tokens/s {WHERE}" in said(open_page("home"))


def test_a_busy_machine_is_told_on_the_page_and_in_compare(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register(), register()
    measured(settings, "phi3/2", BUSY)
    shown = said(open_page("registry", model="phi3", version="2"))
    assert "45 % busy" in shown
    assert "it is faster than that. Measure it again" in shown
    shown = said(open_page("registry", **{"compare": "phi3/1", "with": "phi3/2"}))
    assert "phi3/1 was measured when it was built. phi3/2 was measured on AMD EPYC" in shown
    assert "its page measures it again" in shown


def test_measure_again_is_followed_on_the_page_until_its_figures_are_there(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    asked: list[tuple[str, str]] = []
    events: list[dict[str, object]] = [
        {"step": "weights", "text": "done", "fraction": 1.0, "seconds": 0.1},
        {"step": "idle", "text": "about 60 % busy", "fraction": None, "seconds": None},
    ]
    run_id = running_build(settings, os.getpid(), events, "phi3/1")
    path = settings.jobs / f"{run_id}.jsonl"
    lines = path.read_text().splitlines()
    started = {"pid": os.getpid(), "born": start_of_this_process()}
    path.write_text("\n".join([json.dumps(started), *lines[1:]]) + "\n")

    def start(config: Settings, ref: str, person: Person) -> str:
        asked.append((ref, person.role))
        return run_id

    monkeypatch.setattr(jobs, "start_measuring", start)
    at = open_page("registry", model="phi3", version="1")

    at.button(key="version_measure").click().run()

    assert asked == [("phi3/1", "admin")]
    assert "Wait until the machine is idle :gray[· about 60 % busy]" in said(at)
    assert at.button(key=f"cancel_{run_id}")
    assert not [button for button in at.button if button.key == "version_measure"]

    measured(settings, "phi3/1", QUIET, 151.0)
    mlflow_client(settings).set_terminated(run_id)
    at.run()

    assert not at.exception
    assert "phi3/1 was measured again: 151 tokens/s." in said(at)
    assert at.metric[0].value == "151 tokens/s"
    assert at.button(key="version_measure")


def test_a_measurement_is_shown_on_the_versions_page_in_every_session(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register(), register()
    events: list[dict[str, object]] = [{"step": "idle", "text": "idle, so far", "fraction": None, "seconds": None}]
    run_id = running_build(settings, os.getpid(), events, "phi3/1")
    mlflow_client(settings).set_tag(run_id, "mlflow.parentRunId", reader.get_version(settings, "phi3/1").run_id)
    path = settings.jobs / f"{run_id}.jsonl"
    _, *rest = path.read_text().splitlines()
    started = json.dumps({"pid": os.getpid(), "born": start_of_this_process()})
    path.write_text("\n".join([started, *rest]) + "\n")

    here, there = open_page("registry", model="phi3", version="1"), open_page("registry", model="phi3", version="2")

    assert "Wait until the machine is idle :gray[· idle, so far]" in said(here)
    assert "Wait until the machine is idle" not in said(there)
    assert there.button(key="version_measure")

    measured(settings, "phi3/1", QUIET, 151.0)
    mlflow_client(settings).set_terminated(run_id)
    here.button(key="registry_move").click().run()

    assert "phi3/1 was measured again: 151 tokens/s." in said(here)
    assert here.get("dialog"), "what was pressed as it ended is done"


def test_a_measurement_that_was_stopped_says_so(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    run_id = past_build(settings, "KILLED", reason="Cancelled.", measures="phi3/1")
    monkeypatch.setattr(jobs, "start_measuring", lambda *_: run_id)
    at = open_page("registry", model="phi3", version="1")
    at.button(key="version_measure").click().run()
    assert "phi3/1 was not measured again: Cancelled." in said(at)
    assert "Cancelled. Nothing was recorded." in said(open_page("build"))


def test_what_cant_be_measured_says_why_and_a_viewer_has_no_button(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.register(settings, "theirs", metrics={"loss": 1.0})
    button = open_page("registry", model="theirs", version="1").button(key="version_measure")
    assert button.disabled
    assert "neither of our wrappers made it" in button.help.replace("\\", "")
    register()
    settings.secrets.write_text('[roles]\nadmin = ["ann"]\n')
    monkeypatch.setenv("PHI3_USER", "vera")
    at = open_page("registry", model="phi3", version="1")
    assert "Measured when it was built" in said(at)
    assert not [button for button in at.button if button.key == "version_measure"]
