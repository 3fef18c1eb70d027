from __future__ import annotations

from typing import Any

import pytest
from filelock import FileLock

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, PolicyUnmet, StoreError
from phi3core.promotion import aliases as aliases_module
from phi3core.promotion import apply
from phi3core.promotion.aliases import lock_of
from phi3core.promotion.delete import delete_version, why_not_deleted
from phi3core.promotion.plan import Change, Plan, plan_move
from phi3core.promotion.policy import policy
from phi3core.promotion.promote import delete_alias, previous_version, promote, rollback, set_alias
from phi3core.promotion.reconcile import disagreeing, disagreements
from phi3core.promotion.record import search
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.support.fakes import register


@pytest.fixture
def three(settings: Settings) -> Settings:
    """A store with phi3/1, phi3/2 and phi3/3, none of them promoted."""
    for _ in range(3):
        register(settings)
    return settings


def stages(settings: Settings) -> dict[int, str]:
    return {version.version: version.stage for version in reader.list_versions(settings, "phi3")}


def aliases(settings: Settings) -> dict[str, int]:
    return reader.list_models(settings)[0].aliases


def records(settings: Settings) -> list[Any]:
    """The records of promotions, oldest first."""
    runs = mlflow_client(settings).search_runs(
        [experiment_id(settings, tags.PROMOTIONS)], order_by=["attributes.start_time ASC"]
    )
    return list(runs)


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


def test_a_rollback_is_a_promotion_of_the_version_before(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Production")

    promote(three, "phi3/1", "Production")

    assert stages(three) == {1: "Production", 2: "Archived", 3: "None"}
    assert aliases(three) == {"production": 1}


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


def test_other_aliases_stay_where_they_are(three: Settings) -> None:
    set_alias(three, "phi3/1", "champion")
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Production")

    assert aliases(three) == {"champion": 1, "production": 2}


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


# ---------------------------------------------------------------- aliases


def test_an_alias_moves_from_one_version_to_the_other(three: Settings) -> None:
    set_alias(three, "phi3/1", "champion")

    moved = set_alias(three, "phi3/2", "champion")

    assert moved.aliases == ("champion",)
    assert aliases(three) == {"champion": 2}


def test_a_deleted_alias_is_gone(three: Settings) -> None:
    set_alias(three, "phi3/1", "champion")

    delete_alias(three, "phi3", "champion")

    assert aliases(three) == {}


def test_deleting_an_alias_that_is_not_there_says_so(three: Settings) -> None:
    with pytest.raises(NotFound, match="has no alias @champion"):
        delete_alias(three, "phi3", "champion")


@pytest.mark.parametrize("alias", ["production", "Production", "STAGING", "latest", "Latest", "v3", "V12"])
def test_a_reserved_alias_is_refused(three: Settings, alias: str) -> None:
    promote(three, "phi3/1", "Production")

    with pytest.raises(BadInput, match="reserved"):
        set_alias(three, "phi3/2", alias)
    with pytest.raises(BadInput, match="reserved"):
        delete_alias(three, "phi3", alias)

    assert aliases(three) == {"production": 1}


@pytest.mark.parametrize("alias", ["", "a b", "a/b", "a@b", "ä!", ".hidden"])
def test_an_alias_of_odd_characters_is_refused(three: Settings, alias: str) -> None:
    with pytest.raises(BadInput, match="An alias is made of"):
        set_alias(three, "phi3/1", alias)


# ---------------------------------------------------------------- records


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


def test_aliases_are_recorded_too(three: Settings) -> None:
    set_alias(three, "phi3/1", "champion", person=Person("ada", "admin"))
    delete_alias(three, "phi3", "champion", reason="no more", person=Person("bob", "admin"))

    made, deleted = records(three)

    assert (made.data.tags[tags.ACTION], made.data.tags[tags.TO]) == ("set alias", "@champion")
    assert (deleted.data.tags[tags.ACTION], deleted.data.tags[tags.FROM]) == ("delete alias", "@champion")
    assert (deleted.data.tags[tags.USER], deleted.data.tags[tags.REASON]) == ("bob", "no more")
    assert {made.info.status, deleted.info.status} == {"FINISHED"}


class Refusing:
    """A client whose store refuses one kind of call."""

    def __init__(self, real: Any, refused: str) -> None:
        self._real, self._refused = real, refused

    def __getattr__(self, name: str) -> Any:
        if name == self._refused:
            return self._refuse
        return getattr(self._real, name)

    def _refuse(self, *_: object) -> None:
        from mlflow.exceptions import MlflowException

        raise MlflowException("the store refuses")


def test_a_promotion_that_fails_half_way_is_recorded_as_failed_and_finished_by_the_next(
    three: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(three, "phi3/1", "Production")
    with monkeypatch.context() as patch:
        patch.setattr(
            aliases_module, "client", lambda _: Refusing(mlflow_client(three), "transition_model_version_stage")
        )
        with pytest.raises(StoreError, match="the store refuses"):
            promote(three, "phi3/2", "Production")

    record = records(three)[-1]
    assert record.info.status == "FAILED"
    assert "the store refuses" in record.data.tags[tags.OUTCOME]
    assert aliases(three) == {"production": 2}
    assert disagreements(three, "phi3") != []

    promote(three, "phi3/2", "Production")

    assert disagreements(three, "phi3") == []
    assert stages(three) == {1: "Archived", 2: "Production", 3: "None"}


def test_a_promotion_whose_stages_never_agree_says_who_is_in_the_way(
    three: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = mlflow_client(three)

    class Ignoring(Refusing):
        def _refuse(self, *_: object) -> None:
            """Say yes and do nothing, as if somebody else undid it at once."""

    monkeypatch.setattr(aliases_module, "mlflow_client", lambda _: Ignoring(store, "transition_model_version_stage"))
    monkeypatch.setattr(apply, "_PATIENCE", 1.0)

    with pytest.raises(Conflict, match="phi3/2 has the alias @production but the stage None"):
        promote(three, "phi3/2", "Production")

    assert records(three)[-1].info.status == "FAILED"


@pytest.mark.parametrize(
    "told",
    [
        "(sqlite3.IntegrityError) UNIQUE constraint failed: registered_model_aliases.name",
        '(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint "registered_model_alias_pk"',
    ],
)
def test_an_alias_that_somebody_else_creates_at_the_same_moment_is_tried_again(
    told: str, three: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    store, refusals = mlflow_client(three), iter([True])

    class Racing(Refusing):
        def _refuse(self, *arguments: object) -> None:
            """What a database says when two promoters create one alias: in a quarter of the calls, where they race."""
            if next(refusals, False):
                raise MlflowException(told, error_code="BAD_REQUEST")
            store.set_registered_model_alias(*arguments)

    monkeypatch.setattr(aliases_module, "mlflow_client", lambda _: Racing(store, "set_registered_model_alias"))

    promote(three, "phi3/2", "Production")

    assert aliases(three) == {"production": 2}


# ---------------------------------------------------------------- what others do behind our back


def test_two_versions_in_production_are_told_and_repaired_by_the_next_promotion(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    for number in "23":
        mlflow_client(three).transition_model_version_stage("phi3", number, "Production")

    assert disagreements(three, "phi3") == [
        "phi3/3 has the stage Production but not the alias @production.",
        "phi3/2 has the stage Production but not the alias @production.",
    ]

    promote(three, "phi3/1", "Production")

    assert disagreements(three, "phi3") == []
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
    with FileLock(lock_of(three, "other")):
        promote(three, "phi3/1", "Production")

    assert aliases(three)["production"] == 1


def test_what_left_half_done_is_told_apart_from_what_is_under_way(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    mlflow_client(three).transition_model_version_stage("phi3", "2", "Production")

    listed = reader.list_versions(three, "phi3")

    assert disagreeing(listed) == ["phi3/2 has the stage Production but not the alias @production."]
    assert disagreeing([]) == []


# ---------------------------------------------------------------- what will change, before it does


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


# ---------------------------------------------------------------- the way back


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


# ---------------------------------------------------------------- deleting


def test_a_version_that_nobody_needs_is_deleted_and_recorded(three: Settings) -> None:
    delete_version(three, "phi3/2", "a mistake", Person("ada", "admin"))

    assert set(stages(three)) == {1, 3}
    record = records(three)[-1]
    assert (record.data.tags[tags.ACTION], record.data.tags[tags.VERSION]) == ("delete", "2")
    assert (record.data.tags[tags.REASON], record.info.status) == ("a mistake", "FINISHED")


@pytest.mark.parametrize("stage", ["Production", "Staging"])
def test_a_version_in_use_is_not_deleted(three: Settings, stage: str) -> None:
    promote(three, "phi3/1", stage)

    with pytest.raises(Conflict, match=f"phi3/1 is in {stage}. Move another version there first, or archive"):
        delete_version(three, "phi3/1", "a mistake")

    assert stages(three)[1] == stage


def test_a_version_with_an_alias_is_not_deleted(three: Settings) -> None:
    set_alias(three, "phi3/1", "champion")

    with pytest.raises(Conflict, match="phi3/1 has the alias @champion. Remove it first"):
        delete_version(three, "phi3/1", "a mistake")

    assert why_not_deleted(three, reader.get_version(three, "phi3/2")) == ""


def test_a_deletion_needs_a_reason(three: Settings) -> None:
    with pytest.raises(BadInput, match="Say why it is deleted"):
        delete_version(three, "phi3/1", "")


# ---------------------------------------------------------------- who may


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


# ---------------------------------------------------------------- policies and requests


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


def test_a_rollback_is_open_though_the_policy_has_become_stricter(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Production")
    policy.write(three, "phi3", "Production", policy.Policy(tags=("reviewed",)), Person("root", "admin"))

    done = rollback(three, "phi3", "it is on fire", Person("ada", "releaser"))

    assert done.version.ref == "phi3/1"
    assert [check["met"] for check in search.of_model(three, "phi3")[0].checks] == [False]
