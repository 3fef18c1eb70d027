"""What a reconciliation says, records and repairs; and what it leaves alone."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from filelock import FileLock

from phi3core import tags
from phi3core.errors import NotFound
from phi3core.promotion.aliases import lock_path
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.model import Record
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.promotion.helpers import ADA, bury, count_calls, sound, stages, told
from tests.support.fakes import register


def test_a_look_at_what_is_in_order_says_nothing_and_costs_little(two: Settings) -> None:
    reconcile(two, "phi3")

    calls = count_calls(two, lambda: reconcile(two, "phi3"))

    seen = reconcile(two, "phi3")
    assert [(version.ref, version.stage) for version in seen.versions] == [
        ("phi3/3", "None"),
        ("phi3/2", "Production"),
        ("phi3/1", "Archived"),
    ]
    assert (seen.messages, seen.in_flight, seen.mismatches, seen.damage) == ([], [], [], [])
    assert seen.records_state == "ok"
    assert calls.total() <= 4, calls


def test_a_second_version_in_production_is_put_back_to_what_it_was(two: Settings) -> None:
    mlflow_client(two).transition_model_version_stage("phi3", "3", "Production")
    mlflow_client(two).transition_model_version_stage("phi3", "1", "Staging")

    seen = reconcile(two, "phi3")

    assert {version.version: version.stage for version in seen.versions} == {1: "Archived", 2: "Production", 3: "None"}
    assert seen.messages == [
        "phi3/3 has the stage Production but not the alias @production. It was moved to None.",
        "phi3/1 has the stage Staging but not the alias @staging. It was moved to Archived.",
    ]
    assert told(two) == [
        ("repair", "phi3/3", "Production", "None"),
        ("repair", "phi3/1", "Staging", "Archived"),
    ]
    assert sound(two)


def test_a_stage_that_was_taken_from_the_holder_of_the_alias_is_given_back(two: Settings) -> None:
    mlflow_client(two).transition_model_version_stage("phi3", "2", "Archived")

    reconcile(two, "phi3")

    assert stages(two) == {1: "Archived", 2: "Production", 3: "None"}
    assert sound(two)


def test_everything_at_once_is_put_in_order_by_one_look(two: Settings) -> None:
    mlflow_client(two).set_registered_model_alias("phi3", "production", "1")
    for number, stage in ((1, "Archived"), (2, "Staging"), (3, "Production")):
        mlflow_client(two).transition_model_version_stage("phi3", str(number), stage)

    reconcile(two, "phi3")

    assert stages(two) == {1: "Production", 2: "Archived", 3: "None"}
    assert sound(two)


def test_a_model_that_was_never_promoted_here_is_told_and_left_alone(settings: Settings) -> None:
    for _ in range(2):
        register(settings)
        mlflow_client(settings).transition_model_version_stage("phi3", "1", "Production")
    mlflow_client(settings).transition_model_version_stage("phi3", "2", "Production")

    seen = reconcile(settings, "phi3")

    assert seen.mismatches == ["phi3/1 has the stage Production too, where phi3/2 is, the higher number."]
    assert (seen.messages, told(settings)) == ([], [])
    assert stages(settings) == {1: "Production", 2: "Production"}


def test_the_first_promotion_takes_such_a_model_over(settings: Settings) -> None:
    for number in (1, 2, 3):
        register(settings)
        mlflow_client(settings).transition_model_version_stage("phi3", str(number), "Production")

    done = promote(settings, "phi3/1", "Production", old="None")

    assert done.replaced is not None
    assert done.replaced.ref == "phi3/3"  # what models:/phi3/Production gave
    assert stages(settings) == {1: "Production", 2: "None", 3: "None"}
    assert sound(settings)


def test_while_a_promoter_of_this_machine_is_at_work_a_look_repairs_nothing(two: Settings) -> None:
    mlflow_client(two).transition_model_version_stage("phi3", "3", "Production")
    with FileLock(lock_path(two, "phi3")):
        seen = reconcile(two, "phi3")
        assert seen.messages == []
        assert seen.mismatches == ["phi3/3 has the stage Production but not the alias @production."]
    assert reconcile(two, "phi3").mismatches == []


def test_a_look_finds_the_last_promotion_behind_very_many_other_records(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(two, monkeypatch)

    assert reconcile(two, "phi3").messages == []
    mlflow_client(two).set_registered_model_alias("phi3", "production", "1")

    assert reconcile(two, "phi3").messages[0].startswith("@production was moved from phi3/2 to phi3/1 from outside")
    assert sound(two)


def test_what_is_not_there_is_not_looked_at(settings: Settings) -> None:
    with pytest.raises(NotFound, match="There is no registered model “nothing”"):
        reconcile(settings, "nothing")


def test_a_record_that_was_closed_while_a_look_was_under_way_is_not_closed_again(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = writer.is_writer_alive
    with writer.opened(two, ADA, model="phi3", version=1, action="copy"):
        opened = ExitStack()
        opened.enter_context(writer.opened(two, ADA, model="phi3", version=2, action="copy"))

        def late(settings: Settings, one: Record) -> bool | None:
            opened.close()  # now, after it was read as open
            return real(settings, one)

        monkeypatch.setattr(writer, "is_writer_alive", late)
        assert reconcile(two, "phi3").messages == []

    assert [r.status for r in search.page(two, action="copy").records] == ["done", "done"]


def test_a_copy_that_takes_long_is_left_alone_and_keeps_nothing_from_being_repaired(two: Settings) -> None:
    with writer.opened(two, ADA, model="phi3", version=1, action="copy") as record:
        assert [one.id for one in reconcile(two, "phi3").in_flight] == [record.id]
        mlflow_client(two).set_registered_model_alias("phi3", "production", "3")
        assert reconcile(two, "phi3").mismatches == []  # nor does it keep others from being repaired


def test_a_model_with_the_longest_name_can_be_promoted_and_looked_at(settings: Settings) -> None:
    name = "phi-" + "é" * 122  # 248 bytes; MLflow's SQLite takes 256 letters
    register(settings, name)

    assert promote(settings, f"{name}/1", "Production").version.stage == "Production"
    assert reconcile(settings, name).messages == []


def test_records_that_were_deleted_for_good_while_the_app_runs_are_begun_anew(two: Settings) -> None:
    reconcile(two, "phi3")
    first = mlflow_client(two).get_experiment_by_name(tags.PROMOTIONS).experiment_id
    mlflow_client(two).create_experiment("in between")  # so that no id comes again
    _delete_for_good(two, first)

    assert reconcile(two, "phi3").messages[0].startswith("@production is at phi3/2, and no record tells since when")
    second = mlflow_client(two).get_experiment_by_name(tags.PROMOTIONS).experiment_id

    assert second != first
    assert told(two) == [("found", "phi3/2", "None", "Production")]
    seen = reconcile(two, "phi3")
    assert (seen.messages, told(two)) == ([], [("found", "phi3/2", "None", "Production")])
    _delete_for_good(two, second)
    experiment_id(two, tags.PROMOTIONS)  # by another process
    promote(two, "phi3/3", "Production")
    assert told(two) == [("found", "phi3/2", "None", "Production")]


def _delete_for_good(settings: Settings, experiment_id: str) -> None:
    """As `mlflow gc` does."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    mlflow_client(settings).delete_experiment(experiment_id)
    SqlAlchemyStore(settings.tracking_uri, str(settings.artifacts))._hard_delete_experiment(experiment_id)
