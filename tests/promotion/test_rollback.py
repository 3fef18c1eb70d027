"""The version that was in Production before is put back."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict
from phi3core.promotion.delete import delete_version
from phi3core.promotion.policy import policy
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search
from phi3core.promotion.rollback import previous_version, rollback
from phi3core.settings import Settings
from tests.promotion.helpers import ROOT, aliases, count_calls, records, stages
from tests.support.judging import version_with_files


def test_a_rollback_is_a_promotion_of_the_version_before(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Production")

    promote(three, "phi3/1", "Production")

    assert stages(three) == {1: "Production", 2: "Archived", 3: "None"}
    assert aliases(three) == {"production": 1}


def test_a_rollback_puts_the_version_before_back_with_a_reason(three: Settings) -> None:
    for number in (1, 2, 3):
        promote(three, f"phi3/{number}", "Production")

    done = rollback(three, "phi3", "3 is slow", Person("ada", "releaser"))

    assert done.version.ref == "phi3/2"
    assert stages(three) == {1: "Archived", 2: "Production", 3: "Archived"}
    record = records(three)[-1].data.tags
    assert (record[tags.ACTION], record[tags.REASON], record[tags.USER]) == ("roll back", "3 is slow", "ada")
    assert record[tags.REPLACED] == "phi3/3"


def test_rolling_back_twice_goes_back_two_versions(three: Settings) -> None:
    for number in (1, 2, 3):
        promote(three, f"phi3/{number}", "Production")

    rollback(three, "phi3", "slow")
    assert rollback(three, "phi3", "slow too").version.ref == "phi3/1"

    with pytest.raises(Conflict, match="know no version that was in Production before"):
        rollback(three, "phi3", "all of them")
    assert aliases(three) == {"production": 1}


def test_a_rollback_passes_over_a_version_that_was_deleted(three: Settings) -> None:
    for number in (1, 2, 3):
        promote(three, f"phi3/{number}", "Production")
    delete_version(three, "phi3/2", "broken")

    before = previous_version(three, "phi3")

    assert before is not None
    assert before.ref == "phi3/1"


def test_where_nobody_is_in_production_the_last_that_was_comes_back(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Production")
    promote(three, "phi3/2", "Archived")

    assert rollback(three, "phi3", "too early").version.ref == "phi3/2"


def test_a_rollback_needs_a_reason(three: Settings) -> None:
    with pytest.raises(BadInput, match="Say why you roll back"):
        rollback(three, "phi3", " ")


def test_a_rollback_is_open_though_the_policy_has_become_stricter(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Production")
    policy.write(three, "phi3", "Production", policy.Policy(tags=("reviewed",)), Person("root", "admin"))

    done = rollback(three, "phi3", "it is on fire", Person("ada", "releaser"))

    assert done.version.ref == "phi3/1"
    assert [check["met"] for check in search.of_model(three, "phi3")[0].checks] == [False]


@pytest.mark.parametrize("wanted", [policy.Policy(), policy.Policy(approvals=1)])
def test_a_rollback_asks_the_store_28_times_at_most(settings: Settings, tmp_path: Path, wanted: policy.Policy) -> None:
    for _ in range(3):
        version_with_files(settings, tmp_path)
    for number in (1, 2, 3):
        promote(settings, f"phi3/{number}", "Production")
    policy.write(settings, "phi3", "Production", wanted, ROOT)

    calls = count_calls(settings, lambda: rollback(settings, "phi3", "It loops."))

    assert aliases(settings) == {"production": 2}
    assert calls.total() <= 28, calls
