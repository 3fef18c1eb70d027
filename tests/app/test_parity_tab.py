"""How far a version is from its source, and what the versions of its model trade, on its page and on Compare."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from phi3core import tags
from phi3core.build import jobs
from phi3core.build.parity.comparing import make_report
from phi3core.build.parity.results import GreedyAnswer, Parity, artifact_name
from phi3core.build.parity.statistics import Rows
from phi3core.errors import BadInput
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.builds import past_build
from tests.app.conftest import Open, Register
from tests.app.registry import said, tables


def compared(settings: Settings, ref: str, base: str, kl: float = 0.2) -> None:
    """Record a comparison of a version, as a job does."""
    rows = [Rows(np.array([kl, kl + 0.2]), np.array([1.0, 0.0]), np.ones(2), np.ones(2)) for _ in range(2)]
    answers = [GreedyAnswer("Why *so*?", 9, None, "x"), GreedyAnswer("Who?", 9, 3, "x", "<b>", "it")]
    report = make_report(["prose", "code"], rows, answers)
    found = Parity(ref, base, "the *base*, in float32", datetime.now(UTC), 9.0, report)
    run_id, store = reader.get_version(settings, ref).run_id, mlflow_client(settings)
    store.log_text(run_id, found.to_json(), artifact_name(base))
    for name, value in found.metrics.items():
        store.log_metric(run_id, name, value)


def test_the_tab_shows_figures_their_spread_and_where_answers_part(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    compared(settings, "phi3/1", "source")

    at = open_page("registry", model="phi3", version="1", tab="Parity")

    assert not at.exception
    shown = {metric.label: metric.value for metric in at.metric}
    assert (shown["Mean KLD"], shown["Same top p"]) == ("0.3000", "50.0%")
    assert shown["Same greedy answers"] == "1 of 2"
    boxes = json.loads(at.get("plotly_chart")[-1].proto.spec)["data"]
    assert [box["name"] for box in boxes] == ["Code", "Prose"]
    assert "part at token 4 of 9" in tables(at)
    assert any("the \\*base\\*\\, in float32" in text.value for text in at.markdown)


def test_a_version_that_nobody_has_compared_says_so_and_offers_it(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    job = past_build(settings, "FAILED", reason="The disk is full.", measures="phi3/1")
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(jobs, "start_parity", lambda _, ref, base, person: asked.append((ref, base)) or job)

    at = open_page("registry", model="phi3", version="1", tab="Parity")
    assert "Nobody has held it against the weights" in said(at)
    at.button(key="parity_phi3/1_start").click().run()

    assert asked == [("phi3/1", "")]
    at.run()
    assert "The disk is full." in said(at) + " ".join(error.value for error in at.error)


def test_what_cant_be_compared_has_its_reason_below_a_button_that_is_off(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    mlflow_client(settings).set_model_version_tag("phi3", "1", tags.PRECISION, "as published")

    at = open_page("registry", model="phi3", version="1", tab="Parity")

    assert at.button(key="parity_phi3/1_start").disabled
    assert "was published as ONNX" in said(at)


def test_the_versions_of_a_model_are_plotted_by_what_they_trade(
    open_page: Open, register: Register, settings: Settings
) -> None:
    for kl in (0.1, 0.4):
        ref = register()
        compared(settings, ref, "source", kl)
        mlflow_client(settings).log_metric(reader.get_version(settings, ref).run_id, tags.SIZE_METRIC, 1e8 / (1 + kl))

    at = open_page("registry", model="phi3", version="2", tab="Parity")

    front, points = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    assert len(front["x"]) == len(points["x"]) == 2
    assert sorted(number for [number] in points["customdata"]) == [1, 2]


def test_compare_shows_how_far_the_right_one_is_from_the_left_one_and_starts_it(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(), register()
    compared(settings, "phi3/2", "phi3/1")
    asked: list[tuple[str, str]] = []

    def refuse(_: Settings, ref: str, base: str, person: object) -> str:
        asked.append((ref, base))
        raise BadInput("They have two tokenizers.")

    monkeypatch.setattr(jobs, "start_parity", refuse)
    at = open_page("registry", **{"compare": "phi3/1", "with": "phi3/2"})
    assert {metric.label: metric.value for metric in at.metric}["Mean KLD"] == "0.3000"

    at.button(key="parity_phi3/2_start").click().run()

    assert asked == [("phi3/2", "phi3/1")]
    assert "They have two tokenizers." in [error.value.replace("\\", "") for error in at.error]
