"""What a move will change, before it does."""

from __future__ import annotations

import pytest

from phi3core.errors import BadInput
from phi3core.promotion.plan import Change, Plan, plan_move
from phi3core.promotion.promote import promote
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.helpers import aliases, stages


def planned(settings: Settings, number: int, stage: str, **more: str) -> Plan:
    listed = reader.list_versions(settings, "phi3")
    version = next(version for version in listed if version.version == number)
    return plan_move(settings, version, stage, listed, **more)


def test_a_plan_says_what_each_version_becomes_and_the_promotion_does_just_that(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Staging")

    plan = planned(three, 2, "Production")

    assert [str(change) for change in plan.changes] == [
        str(Change("phi3/1", "stage", "Production", "Archived")),
        str(Change("phi3/2", "stage", "Staging", "Production")),
        str(Change("phi3/2", "alias", "", "@production")),
        str(Change("phi3/2", "alias", "@staging", "")),
    ]
    assert plan.replaced is not None
    assert (plan.replaced.ref, plan.becomes, plan.vacated, plan.unguarded) == ("phi3/1", "Archived", "Staging", False)
    promote(three, "phi3/2", "Production")
    assert planned(three, 2, "Production").changes == ()
    assert {change.ref: change.new for change in plan.changes if change.what == "stage"} == {
        f"phi3/{number}": stage for number, stage in stages(three).items() if number != 3
    }


def test_the_version_before_it_may_be_left_without_a_stage(three: Settings) -> None:
    promote(three, "phi3/1", "Production")

    assert planned(three, 2, "Production", old="None").becomes == "None"
    done = promote(three, "phi3/2", "Production", old="None")

    assert done.replaced_to == "None"
    assert stages(three) == {1: "None", 2: "Production", 3: "None"}
    with pytest.raises(BadInput, match="becomes Archived or None, not “Staging”"):
        promote(three, "phi3/3", "Production", old="Staging")


def test_a_version_with_both_aliases_is_not_said_to_leave_the_one_stage_for_the_other(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    mlflow_client(three).set_registered_model_alias("phi3", "staging", "1")

    assert [change.ref for change in planned(three, 2, "Staging").changes] == ["phi3/2", "phi3/2"]
    promote(three, "phi3/2", "Staging")

    assert stages(three) == {1: "Production", 2: "Staging", 3: "None"}
    assert aliases(three) == {"production": 1, "staging": 2}
