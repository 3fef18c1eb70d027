"""Several versions of one source, asked for on the page Build."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pages.components.registry import navigation, trade_off
from phi3core import tags
from phi3core.access.roles import Person
from phi3core.build import jobs
from phi3core.build.spec import BuildSpec
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.builds import past_build
from tests.app.conftest import Open, Register, said


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[BuildSpec]:
    """The builds that were started; none of them really is."""
    specs: list[BuildSpec] = []

    def start(config: Settings, spec: BuildSpec, person: Person, after: str = "") -> str:
        assert after == (f"{len(specs):032}" if specs else ""), "each lets the one before it end first"
        specs.append(spec)
        return f"{len(specs):032}"

    monkeypatch.setattr(jobs, "start", start)
    return specs


def built(register: Register, settings: Settings, count: int) -> list[str]:
    """Versions that builds of one source made, the newest last."""
    refs = []
    for number in range(1, count + 1):
        refs.append(ref := register())
        past_build(settings, "FINISHED", version=number)
        store, run_id = mlflow_client(settings), reader.get_version(settings, ref).run_id
        store.log_metric(run_id, tags.SIZE_METRIC, 1e8 * number)
        store.log_metric(run_id, "benchmark/hellaswag-20/acc_norm", 0.3 + number / 10)
    return refs


def test_several_precisions_of_both_wrappers_are_a_build_each(open_page: Open, started: list[BuildSpec]) -> None:
    at = open_page("build")
    at.radio(key="build_wrapper").set_value("both").run()
    assert "By default int4-mixed. It is a small model" in said(at)
    at.multiselect(key="build_precision_onnx_embedded").set_value(["int4", "int8"])
    at.multiselect(key="build_blocks").set_value([16, 32])

    at.button(key="build_start").click().run()

    assert not at.exception
    assert [(spec.wrapper, spec.precision, spec.block) for spec in started] == [
        ("transformers", "bfloat16", 32),
        ("onnx", "int4", 16),
        ("onnx", "int4", 32),
        ("onnx", "int8", 32),
    ]


def test_after_several_builds_of_one_source_their_versions_are_plotted_and_held_against_it_one_after_the_other(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = built(register, settings, 2)
    asked: list[tuple[str, str]] = []

    def start(_: Settings, ref: str, base: str, person: Person, after: str) -> str:
        asked.append((ref, after))
        return f"job of {ref}"

    monkeypatch.setattr(jobs, "start_parity", start)

    at = open_page("build")

    assert not at.exception
    assert at.selectbox(key="trade_quality").options[0] == "hellaswag-20, acc_norm"
    _, points = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    assert (points["x"], points["y"]) == ([100, 200], [0.4, 0.5])
    at.button(key="ladder_parity").click().run()
    assert asked == [(refs[0], ""), (refs[1], f"job of {refs[0]}")]


def test_a_single_build_has_nothing_to_trade(open_page: Open, register: Register, settings: Settings) -> None:
    built(register, settings, 1)

    at = open_page("build")

    assert not at.get("plotly_chart")
    assert not [button for button in at.button if button.key == "ladder_parity"]


def test_a_click_on_a_point_opens_its_version_and_on_the_open_one_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone: list[Any] = []
    monkeypatch.setattr(navigation, "go", gone.append)
    clicked = [{"customdata": [2], "x": 100.0, "y": 0.2}]

    trade_off.open_chosen([], "phi3", here=1)
    trade_off.open_chosen(clicked, "phi3", here=2)
    assert gone == []

    trade_off.open_chosen(clicked, "phi3", here=1)
    assert gone == [{"model": "phi3", "version": "2", "tab": "Parity"}]
