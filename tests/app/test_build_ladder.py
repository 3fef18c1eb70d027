"""Several versions of one source, asked for on the page Build."""

from __future__ import annotations

import pytest

from phi3core.access.roles import Person
from phi3core.build import jobs
from phi3core.build.spec import BuildSpec
from phi3core.settings import Settings
from tests.app.conftest import Open, said


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[BuildSpec]:
    """The builds that were started; none of them really is."""
    specs: list[BuildSpec] = []

    def start(config: Settings, spec: BuildSpec, person: Person) -> str:
        specs.append(spec)
        return "0" * 32

    monkeypatch.setattr(jobs, "start", start)
    return specs


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
