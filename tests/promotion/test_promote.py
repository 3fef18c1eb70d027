"""Versions move between stages: what changes, what is recorded, which roles may do it, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Forbidden, NotFound, PolicyUnmet
from phi3core.promotion.aliases import lock_path
from phi3core.promotion.delete import delete_version
from phi3core.promotion.findings import mismatches_of_versions
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.promote import delete_alias, promote, set_alias
from phi3core.promotion.reconcile import mismatches
from phi3core.promotion.record import history, search
from phi3core.promotion.rollback import rollback
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.helpers import ADA as RUTH
from tests.promotion.helpers import aliases, count_calls, records, stages
from tests.support import judging
from tests.support.fakes import register
from tests.support.judging import version_with_files


def test_a_promoted_version_has_the_alias_and_the_stage(three: Settings) -> None:
    done = promote(three, "phi3/2", "Production")

    assert (done.version.ref, done.version.stage, done.version.aliases) == ("phi3/2", "Production", ("production",))
    assert done.replaced is None
    assert stages(three) == {1: "None", 2: "Production", 3: "None"}
    assert aliases(three) == {"production": 2}


def test_the_version_before_it_is_archived(three: Settings) -> None:
    promote(three, "phi3/1", "Production")

    done = promote(three, "phi3/2", "Production")

    assert done.replaced is not None
    assert done.replaced.ref == "phi3/1"
    assert stages(three) == {1: "Archived", 2: "Production", 3: "None"}
    assert aliases(three) == {"production": 2}


def test_staging_and_production_are_independent(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Staging")
    promote(three, "phi3/3", "Staging")

    assert stages(three) == {1: "Production", 2: "Archived", 3: "Staging"}
    assert aliases(three) == {"production": 1, "staging": 3}


def test_a_version_that_moves_from_staging_to_production_leaves_staging(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Staging")

    done = promote(three, "phi3@staging", "Production")

    assert done.version.ref == "phi3/2"
    assert stages(three) == {1: "Archived", 2: "Production", 3: "None"}
    assert aliases(three) == {"production": 2}


@pytest.mark.parametrize("stage", ["None", "Archived"])
def test_a_version_taken_out_of_production_leaves_nobody_there(three: Settings, stage: str) -> None:
    promote(three, "phi3/1", "Production")

    promote(three, "phi3/1", stage)

    assert stages(three)[1] == stage
    assert aliases(three) == {}
    with pytest.raises(NotFound):
        reader.get_version(three, "phi3/Production")


def test_promoting_what_is_in_production_already_changes_nothing(three: Settings) -> None:
    promote(three, "phi3/1", "Production")

    done = promote(three, "phi3/1", "Production")

    assert done.replaced is None
    assert stages(three) == {1: "Production", 2: "None", 3: "None"}


@pytest.mark.parametrize("written", ["production", "PRODUCTION", " Production "])
def test_a_stage_may_be_written_in_any_case(three: Settings, written: str) -> None:
    assert promote(three, "phi3/1", written).stage == "Production"


@pytest.mark.parametrize("stage", ["", "Prod", "champion", "production!"])
def test_a_stage_that_is_none_is_refused_and_changes_nothing(three: Settings, stage: str) -> None:
    with pytest.raises(BadInput, match="is not a stage. The stages are None, Staging, Production, Archived"):
        promote(three, "phi3/1", stage)

    assert set(stages(three).values()) == {"None"}
    assert records(three) == []


@pytest.mark.parametrize("ref", ["phi3/9", "nothing/1", "phi3@champion", "phi3/Production"])
def test_a_version_that_is_not_there_is_not_promoted(three: Settings, ref: str) -> None:
    with pytest.raises(NotFound):
        promote(three, ref, "Production")

    assert aliases(three) == {}


def test_every_move_is_recorded_with_who_and_why(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    done = promote(three, "phi3/2", "Production", reason="faster", person=Person("ada", "admin"))

    record = records(three)[-1]

    assert record.info.run_id == done.record
    assert record.info.status == "FINISHED"
    tag_values = record.data.tags
    assert (tag_values[tags.MODEL_NAME], tag_values[tags.VERSION]) == ("phi3", "2")
    assert (tag_values[tags.FROM], tag_values[tags.TO]) == ("None", "Production")
    assert (tag_values[tags.REASON], tag_values[tags.USER], tag_values["phi3.replaced"]) == ("faster", "ada", "phi3/1")


def test_two_versions_in_production_are_told_and_repaired_by_the_next_promotion(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    for number in "23":
        mlflow_client(three).transition_model_version_stage("phi3", number, "Production")

    assert mismatches(three, "phi3") == [
        "phi3/3 has the stage Production but not the alias @production.",
        "phi3/2 has the stage Production but not the alias @production.",
    ]

    promote(three, "phi3/1", "Production")

    assert mismatches(three, "phi3") == []
    assert stages(three) == {1: "Production", 2: "None", 3: "None"}


def test_an_alias_moved_by_hand_is_obeyed_by_the_next_promotion(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    mlflow_client(three).set_registered_model_alias("phi3", "production", "2")

    promote(three, "phi3/3", "Staging")

    assert stages(three) == {1: "Archived", 2: "Production", 3: "Staging"}
    assert aliases(three) == {"production": 2, "staging": 3}


def test_a_version_with_both_aliases_is_in_production(three: Settings) -> None:
    for alias in ("production", "staging"):
        mlflow_client(three).set_registered_model_alias("phi3", alias, "2")

    promote(three, "phi3/1", "Archived")

    assert stages(three) == {1: "Archived", 2: "Production", 3: "None"}
    assert aliases(three) == {"production": 2}


def test_a_promotion_waits_for_nobody_of_another_model(three: Settings) -> None:
    register(three, "other")
    with FileLock(lock_path(three, "other")):
        promote(three, "phi3/1", "Production")

    assert aliases(three)["production"] == 1


def test_what_left_half_done_is_told_apart_from_what_is_under_way(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    mlflow_client(three).transition_model_version_stage("phi3", "2", "Production")

    listed = reader.list_versions(three, "phi3")

    assert mismatches_of_versions(listed) == ["phi3/2 has the stage Production but not the alias @production."]
    assert mismatches_of_versions([]) == []


ACTS: dict[str, tuple[str, Any]] = {
    "promote": ("releaser", lambda s, p: promote(s, "phi3/1", "Production", person=p)),
    "archive": ("releaser", lambda s, p: promote(s, "phi3/1", "Archived", person=p)),
    "roll back": ("releaser", lambda s, p: rollback(s, "phi3", "why", p)),
    "set an alias": ("releaser", lambda s, p: set_alias(s, "phi3/1", "champion", person=p)),
    "delete an alias": ("releaser", lambda s, p: delete_alias(s, "phi3", "other", person=p)),
    "delete": ("admin", lambda s, p: delete_version(s, "phi3/3", "why", p)),
    "override": ("admin", lambda s, p: promote(s, "phi3/1", "Production", person=p, override="I must")),
}


@pytest.mark.parametrize("act", ACTS)
def test_whoever_has_no_right_to_it_changes_nothing(three: Settings, act: str) -> None:
    for number in (1, 2):
        promote(three, f"phi3/{number}", "Production")
    set_alias(three, "phi3/1", "other")
    needs, do = ACTS[act]
    before = (stages(three), aliases(three), len(records(three)))

    for role in roles.ROLES[: roles.ROLES.index(needs)]:
        with pytest.raises(Forbidden, match="needs the role"):
            do(three, Person("eve", role))
    assert (stages(three), aliases(three), len(records(three))) == before

    do(three, Person("ada", needs))
    assert records(three)[-1].data.tags[tags.ROLE] == needs


def test_an_unmet_policy_blocks_and_an_admin_may_go_on_with_a_reason_on_the_record(three: Settings) -> None:
    ada, root = Person("ada", "releaser"), Person("root", "admin")
    policy.write(three, "phi3", "Production", policy.Policy(tags=("reviewed",)), root)

    with pytest.raises(PolicyUnmet, match="phi3/1 can't move to Production.*reviewed"):
        promote(three, "phi3/1", "Production", person=ada)
    assert aliases(three) == {}
    promote(three, "phi3/1", "Staging", person=ada)

    done = promote(three, "phi3/1", "Production", person=root, override="customers wait")

    record = search.of_model(three, "phi3")[0]
    assert (record.id, record.override) == (done.record, "customers wait")
    assert [check["met"] for check in record.checks] == [False]


# ---------------------------------------------------------------- what it costs


@pytest.fixture
def runs(settings: Settings, tmp_path: Path) -> Settings:
    """phi3/1 to phi3/4 with files and a run each; phi3/1 archived, phi3/2 in Production."""
    for _ in range(4):
        version_with_files(settings, tmp_path)
    for number in (1, 2):
        promote(settings, f"phi3/{number}", "Production")
    return settings


def test_a_promotion_without_a_policy_asks_the_store_25_times_at_most(runs: Settings) -> None:
    calls = count_calls(runs, lambda: promote(runs, "phi3/3", "Production"))

    assert (stages(runs), calls.total() <= 25) == ({1: "Archived", 2: "Archived", 3: "Production", 4: "None"}, True), (
        calls
    )


def test_a_version_that_leaves_staging_for_production_costs_two_calls_more(runs: Settings) -> None:
    promote(runs, "phi3/3", "Staging")

    calls = count_calls(runs, lambda: promote(runs, "phi3/3", "Production"))

    assert aliases(runs) == {"production": 3}
    assert calls.total() <= 27, calls


def test_a_promotion_with_a_policy_and_a_request_asks_the_store_36_times_at_most(runs: Settings) -> None:
    policy.write(runs, "phi3", "Production", policy.Policy(approvals=1), judging.ROOT)
    asked = requests.ask(runs, "phi3/3", "Production", "Faster.", judging.ADA)
    requests.decide(runs, asked.id, "approve", "", judging.BOB)

    calls = count_calls(runs, lambda: promote(runs, "phi3/3", "Production"))

    assert requests.get(runs, asked.id).status == "promoted"
    assert calls.total() <= 36, calls
    assert calls.total() <= 25, calls  # the policy, the request and the decision are in the snapshot


def test_a_promotion_of_a_model_with_a_long_history_asks_for_what_is_not_in_the_snapshot_too(
    runs: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_RECENT", 1)  # as if there were more records than are read at once

    calls = count_calls(runs, lambda: promote(runs, "phi3/3", "Production"))

    assert aliases(runs) == {"production": 3}
    assert calls.total() <= 36, calls


def test_the_reason_of_a_request_and_who_approved_it_stay_on_the_promotion_that_carries_it_out(
    settings: Settings, version: Version, asked: str
) -> None:
    requests.decide(settings, asked, "approve", "", judging.ADA)  # her own request
    promote(settings, version.ref, "Production", person=RUTH)

    done, approved, _ = search.of_model(settings, version.name)
    assert (done.reason, done.request) == ("It is faster.", asked)
    assert done.outcome.endswith(
        "ada@example.org asked for it: It is faster. Approved by ada@example.org, who asked for it."
    )
    assert {"name": "approver", "met": True, "says": "It is the person's own request."} in approved.checks
    promote(settings, version.ref, "None", "It loops.", RUTH)
    assert search.of_model(settings, version.name)[0].reason == "It loops."
