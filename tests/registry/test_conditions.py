"""Under which conditions a version was measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from phi3core import tags
from phi3core.registry import reader
from phi3core.registry.conditions import conditions_from_tags
from phi3core.registry.models import to_dict
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.support import fakes
from tests.support.conditions import BUSY, QUIET


def test_they_say_where_and_when_and_how_busy_it_was() -> None:
    assert str(replace(QUIET, cpu="AMD EPYC")) == "AMD EPYC, 2 cores, 3 % busy, 28 Nov 2026"
    assert str(replace(QUIET, cpu="M4", cores=1, load=None)) == "M4, 1 core, 28 Nov 2026"


def test_above_a_fifth_of_the_cores_the_machine_is_busy() -> None:
    assert not replace(QUIET, load=0.2).busy
    assert replace(QUIET, load=0.21).busy
    assert not replace(QUIET, load=None).busy


def test_tags_give_them_back_by_step_and_in_order() -> None:
    tag_values = BUSY.as_tag(10) | QUIET.as_tag(9) | {tags.SOURCE: "embedded"}

    assert list(conditions_from_tags(tag_values).items()) == [(9, QUIET), (10, BUSY)]


@pytest.mark.parametrize("change", [{"load": 7}, {"load": float("nan")}, {"when": "soon"}, {"cores": None}])
def test_what_another_program_wrote_there_is_left_out(change: dict[str, object]) -> None:
    tag = f"{tags.MEASURED}0"
    damaged = json.dumps(QUIET.to_dict() | change)

    assert conditions_from_tags({tag: damaged, f"{tags.MEASURED}x": QUIET.as_tag(0)[tag]}) == {}
    assert conditions_from_tags({tag: "not JSON"}) == {}


def test_a_version_has_those_of_its_newest_measurement(settings: Settings) -> None:
    fakes.register(settings, metrics={tags.TOKENS_PER_SECOND: 100.0})
    run_id, store = reader.get_version(settings, "phi3/1").run_id, mlflow_client(settings)
    assert reader.get_version(settings, "phi3/1").measured is None
    for step, (speed, conditions) in enumerate([(90.0, BUSY), (110.0, QUIET)], start=1):
        store.log_metric(run_id, tags.TOKENS_PER_SECOND, speed, step=step)
        for name, value in conditions.as_tag(step).items():
            store.set_tag(run_id, name, value)

    version = reader.get_version(settings, "phi3/1")

    assert (version.metrics[tags.TOKENS_PER_SECOND], version.measured) == (110.0, QUIET)
    assert reader.list_versions(settings, "phi3") == [version]
    found = reader.list_measurements(settings, run_id, tags.TOKENS_PER_SECOND)
    assert found == [(0, 100.0, None), (1, 90.0, BUSY), (2, 110.0, QUIET)]
    assert json.loads(json.dumps(to_dict(version)))["measured"]["when"] == "2026-11-28T14:05:00Z"
