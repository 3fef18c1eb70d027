"""What a look at a model finds, says, records and repairs; and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, NotFound, StoreError
from phi3core.promotion import aliases, apply
from phi3core.promotion import promote as promote_module
from phi3core.promotion import reconcile as reconcile_module
from phi3core.promotion.aliases import State, lock_of, move, point, read_state
from phi3core.promotion.plan import plan_move
from phi3core.promotion.promote import promote, rollback, set_alias
from phi3core.promotion.reconcile import reconcile, settle, wrong_in
from phi3core.promotion.record import search, timeline, writer
from phi3core.promotion.record.model import Record
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings
from phi3core.store import client as client_module
from phi3core.store.client import experiment_id, mlflow_client
from tests.promotion.test_promote import Refusing
from tests.support import prepared
from tests.support.fakes import CountingClient, elsewhere, register
from tests.support.proxy import ALIAS_FIELDS, ALIASES, STAGE_FIELDS, STAGES, proxy

ADA = Person("ada@example.org", "releaser")
ROOT = Person("root@example.org", "admin")


@pytest.fixture(scope="session")
def two_once(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    def make(settings: Settings) -> None:
        for _ in range(3):
            register(settings)
        for number in (1, 2):
            promote(settings, f"phi3/{number}", "Production", person=ADA)

    return prepared.once(tmp_path_factory.mktemp("two"), empty_store, make)


@pytest.fixture
def two(two_once: Path, settings: Settings) -> Settings:
    """phi3/1 archived, phi3/2 in Production, phi3/3 in none."""
    return prepared.copied(two_once, settings)


def stages(settings: Settings, name: str = "phi3") -> dict[int, str]:
    return read_state(settings, name).stages


def told(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Action, version, from and to of what the looks recorded, oldest first."""
    listed = search.of_model(settings, "phi3")[::-1]
    return [(r.action, r.ref, r.old, r.new) for r in listed if r.action in ("found", "repair")]


def sound(settings: Settings) -> bool:
    """Whether a further look finds nothing, and the records and the aliases tell the same."""
    seen, now = reconcile(settings, "phi3"), read_state(settings, "phi3")
    listed = search.of_model(settings, "phi3")
    return (
        (seen.said, seen.wrong, seen.damage, seen.in_flight) == ([], [], [], [])
        and all(timeline.holder(listed, stage) == now.holder(stage) for stage in ("Production", "Staging"))
        and {record.status for record in listed} <= {"done", "failed", "interrupted"}
    )


def bury(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """More records than a look reads first."""
    monkeypatch.setattr(reconcile_module, "_RECENT", 5)
    for _ in range(6):
        writer.append(settings, ADA, model="phi3", version=1, action="request")


def test_a_look_at_what_is_in_order_says_nothing_and_costs_little(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconcile(two, "phi3")
    counting = CountingClient(mlflow_client(two))
    monkeypatch.setattr(client_module, "_client", lambda _: counting)

    seen = reconcile(two, "phi3")

    assert [(version.ref, version.stage) for version in seen.versions] == [
        ("phi3/3", "None"),
        ("phi3/2", "Production"),
        ("phi3/1", "Archived"),
    ]
    assert (seen.said, seen.in_flight, seen.wrong, seen.damage) == ([], [], [], [])
    assert seen.records_state == "ok"
    assert sum(counting.calls.values()) <= 4


def test_a_second_version_in_production_is_put_back_to_what_it_was(two: Settings) -> None:
    mlflow_client(two).transition_model_version_stage("phi3", "3", "Production")
    mlflow_client(two).transition_model_version_stage("phi3", "1", "Staging")

    seen = reconcile(two, "phi3")

    assert {version.version: version.stage for version in seen.versions} == {1: "Archived", 2: "Production", 3: "None"}
    assert seen.said == [
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


def test_an_alias_that_was_moved_from_outside_is_obeyed_and_told_with_when(two: Settings) -> None:
    mlflow_client(two).set_registered_model_alias("phi3", "production", "3")

    seen = reconcile(two, "phi3")

    assert stages(two) == {1: "Archived", 2: "Archived", 3: "Production"}
    assert seen.said[0].startswith("@production was moved from phi3/2 to phi3/3 from outside, between 20")
    assert told(two)[0] == ("found", "phi3/3", "None", "Production")
    assert sound(two)
    assert [(span.version, span.end is None) for span in timeline.spans(search.of_model(two, "phi3"))] == [
        (1, False),
        (2, False),
        (3, True),
    ]
    found = next(record for record in search.of_model(two, "phi3") if record.action == "found")
    assert (found.replaced, found.replaced_to, found.reason) == ("phi3/2", "Archived", seen.said[0])
    assert rollback(two, "phi3", "nobody asked for it").version.ref == "phi3/2"


def test_an_alias_that_was_removed_from_outside_leaves_nobody_in_production(two: Settings) -> None:
    mlflow_client(two).delete_registered_model_alias("phi3", "production")

    seen = reconcile(two, "phi3")

    assert stages(two) == {1: "Archived", 2: "Archived", 3: "None"}
    assert seen.said[0].startswith("@production was removed from phi3/2 from outside, between ")
    assert sound(two)
    assert timeline.spans(search.of_model(two, "phi3"))[-1].end is not None


def test_a_version_that_was_deleted_from_outside_is_told(two: Settings) -> None:
    mlflow_client(two).delete_model_version("phi3", "2")

    seen = reconcile(two, "phi3")

    assert seen.said[0].startswith("phi3/2, in Production, was deleted from outside, between ")
    assert stages(two) == {1: "Archived", 3: "None"}
    assert sound(two)


def test_a_stage_without_an_alias_that_was_changed_from_outside_is_told_and_left(two: Settings) -> None:
    mlflow_client(two).transition_model_version_stage("phi3", "1", "None")

    seen = reconcile(two, "phi3")

    (sentence,) = seen.said
    assert sentence.startswith("phi3/1 was moved from Archived to None from outside, between ")
    assert stages(two)[1] == "None"
    assert sound(two)


def test_a_staging_alias_that_was_set_from_outside_is_obeyed(two: Settings) -> None:
    mlflow_client(two).set_registered_model_alias("phi3", "staging", "3")

    reconcile(two, "phi3")

    assert stages(two) == {1: "Archived", 2: "Production", 3: "Staging"}
    assert sound(two)


def test_a_version_that_was_given_both_aliases_stays_in_production(two: Settings) -> None:
    mlflow_client(two).set_registered_model_alias("phi3", "staging", "2")

    seen = reconcile(two, "phi3")

    assert seen.said[1:] == ["phi3/2 has both aliases, @production and @staging. @staging was removed from it."]
    assert stages(two) == {1: "Archived", 2: "Production", 3: "None"}
    assert read_state(two, "phi3").aliases == {"production": 2}
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

    assert seen.wrong == [
        "phi3/2 has the stage Production but not the alias @production.",
        "phi3/1 has the stage Production but not the alias @production.",
    ]
    assert (seen.said, told(settings)) == ([], [])
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
    with FileLock(lock_of(two, "phi3")):
        seen = reconcile(two, "phi3")
        assert seen.said == []
        assert seen.wrong == ["phi3/3 has the stage Production but not the alias @production."]
    assert reconcile(two, "phi3").wrong == []


def test_half_of_a_promotion_that_ends_on_another_machine_meanwhile_is_not_repaired(
    two: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, half = elsewhere(two, tmp_path / "other"), list[State]()

    def moving(*args: Any) -> None:
        half.append(read_state(two, "phi3"))
        move(*args)

    def reading(settings: Settings, name: str) -> State:
        """What is read while the other one is half-way through; then it ends."""
        if settings == other or half:
            return read_state(settings, name)
        promote(other, "phi3/3", "Production", person=ADA)
        return half[0]

    monkeypatch.setattr(apply, "move", moving)
    monkeypatch.setattr(reconcile_module, "read", reading)

    assert settle(two, "phi3").said == []

    assert wrong_in(half[0]) != []
    assert told(two) == []
    assert sound(two)


def test_a_promotion_that_failed_half_way_counts_where_it_moved_the_alias(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            aliases, "mlflow_client", lambda _: Refusing(mlflow_client(two), "transition_model_version_stage")
        )
        with pytest.raises(StoreError, match="the store refuses"):
            promote(two, "phi3/3", "Production", person=ADA)

    seen = reconcile(two, "phi3")

    assert stages(two) == {1: "Archived", 2: "Archived", 3: "Production"}
    assert seen.said[0].startswith("The promotion of phi3/3 to Production that failed on 20")
    assert not any("from outside" in sentence for sentence in seen.said)
    assert sound(two)


def test_a_look_finds_the_last_promotion_behind_very_many_other_records(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(two, monkeypatch)

    assert reconcile(two, "phi3").said == []
    mlflow_client(two).set_registered_model_alias("phi3", "production", "1")

    assert reconcile(two, "phi3").said[0].startswith("@production was moved from phi3/2 to phi3/1 from outside")
    assert sound(two)


def test_what_is_not_there_is_not_looked_at(settings: Settings) -> None:
    with pytest.raises(NotFound, match="There is no registered model “nothing”"):
        reconcile(settings, "nothing")


def test_a_record_that_was_closed_while_a_look_was_under_way_is_not_closed_again(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = writer.alive
    with writer.opened(two, ADA, model="phi3", version=1, action="copy"):
        opened = ExitStack()
        opened.enter_context(writer.opened(two, ADA, model="phi3", version=2, action="copy"))

        def late(settings: Settings, one: Record) -> bool | None:
            opened.close()  # now, after it was read as open
            return real(settings, one)

        monkeypatch.setattr(writer, "alive", late)
        assert reconcile(two, "phi3").said == []

    assert [r.status for r in search.page(two, action="copy").records] == ["done", "done"]


def test_a_copy_that_takes_long_is_left_alone_and_keeps_nothing_from_being_repaired(two: Settings) -> None:
    with writer.opened(two, ADA, model="phi3", version=1, action="copy") as record:
        assert [one.id for one in reconcile(two, "phi3").in_flight] == [record.id]
        mlflow_client(two).set_registered_model_alias("phi3", "production", "3")
        assert reconcile(two, "phi3").wrong == []  # nor does it keep others from being repaired


# ---------------------------------------------------------------- other aliases, and stages without records


def test_an_alias_that_a_record_set_and_that_was_moved_from_outside_is_told_and_left(two: Settings) -> None:
    set_alias(two, "phi3/1", "champion", person=ADA)
    mlflow_client(two).set_registered_model_alias("phi3", "champion", "3")

    (sentence,) = reconcile(two, "phi3").said

    assert sentence.startswith("@champion was moved from phi3/1 to phi3/3 from outside, between ")
    assert told(two) == [("found", "phi3/3", "", "@champion")]
    assert stages(two) == {1: "Archived", 2: "Production", 3: "None"}  # an alias of another name says no stage
    assert sound(two)
    mlflow_client(two).transition_model_version_stage("phi3", "3", "Production")
    reconcile(two, "phi3")
    assert stages(two) == {1: "Archived", 2: "Production", 3: "None"}
    assert sound(two)


def test_an_alias_that_a_record_set_and_that_was_removed_from_outside_is_told(two: Settings) -> None:
    for number in (1, 3):
        set_alias(two, f"phi3/{number}", "champion", person=ADA)
    mlflow_client(two).delete_registered_model_alias("phi3", "champion")

    (sentence,) = reconcile(two, "phi3").said

    assert sentence.startswith("@champion was removed from phi3/3 from outside, between ")
    assert told(two) == [("found", "phi3/3", "@champion", "")]
    assert sound(two)
    mlflow_client(two).set_registered_model_alias("phi3", "champion", "1")
    assert reconcile(two, "phi3").said[0].startswith("@champion was moved to phi3/1 from outside")
    assert sound(two)


def test_an_alias_that_no_record_ever_set_is_left_untold(two: Settings) -> None:
    mlflow_client(two).set_registered_model_alias("phi3", "champion", "3")

    assert reconcile(two, "phi3").said == []


def test_an_alias_that_was_set_very_many_records_ago_is_known_all_the_same(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_alias(two, "phi3/1", "champion", person=ADA)
    bury(two, monkeypatch)
    assert reconcile(two, "phi3").said == []

    mlflow_client(two).set_registered_model_alias("phi3", "champion", "3")

    assert reconcile(two, "phi3").said[0].startswith("@champion was moved from phi3/1 to phi3/3 from outside")
    assert reconcile(two, "phi3").said == []


def test_an_alias_whose_change_failed_after_it_had_happened_is_not_told_as_from_outside(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_alias(two, "phi3/1", "champion", person=ADA)

    def late(settings: Settings, name: str, alias: str, number: int) -> None:
        point(settings, name, alias, number)
        raise StoreError("the answer did not come")

    with monkeypatch.context() as patch:
        patch.setattr(promote_module, "point", late)
        with pytest.raises(StoreError):
            set_alias(two, "phi3/3", "champion", person=ADA)

    (sentence,) = reconcile(two, "phi3").said

    assert sentence.startswith("@champion was moved from phi3/1 to phi3/3 by what failed on 20")
    assert sound(two)


def test_a_model_that_has_only_an_alias_from_here_is_left_alone_by_its_stages(settings: Settings) -> None:
    register(settings)
    mlflow_client(settings).transition_model_version_stage("phi3", "1", "Production")
    set_alias(settings, "phi3/1", "champion", person=ADA)
    mlflow_client(settings).delete_registered_model_alias("phi3", "champion")

    assert len(reconcile(settings, "phi3").said) == 1
    assert reconcile(settings, "phi3").said == []
    assert stages(settings) == {1: "Production"}


def test_a_new_version_that_was_archived_from_outside_is_told(two: Settings) -> None:
    for number in (3, 4):
        if number == 4:
            register(two)
        mlflow_client(two).transition_model_version_stage("phi3", str(number), "Archived")

    (sentence,) = reconcile(two, "phi3").said  # of the other one nobody knows what it was before there were records

    assert sentence.startswith("phi3/4 was moved from None to Archived from outside, between ")
    assert sound(two)


# ---------------------------------------------------------------- names and homes


def test_a_model_with_the_longest_name_can_be_promoted_and_looked_at(settings: Settings) -> None:
    name = "phi-" + "é" * 122  # 248 bytes; MLflow's SQLite takes 256 letters
    register(settings, name)

    assert promote(settings, f"{name}/1", "Production").version.stage == "Production"
    assert reconcile(settings, name).said == []


def test_records_that_were_deleted_for_good_while_the_app_runs_are_begun_anew(two: Settings) -> None:
    reconcile(two, "phi3")
    first = mlflow_client(two).get_experiment_by_name(tags.PROMOTIONS).experiment_id
    mlflow_client(two).create_experiment("in between")  # so that no id comes again
    _delete_for_good(two, first)

    assert reconcile(two, "phi3").said[0].startswith("@production is at phi3/2, and no record tells since when")
    second = mlflow_client(two).get_experiment_by_name(tags.PROMOTIONS).experiment_id

    assert second != first
    assert told(two) == [("found", "phi3/2", "None", "Production")]
    seen = reconcile(two, "phi3")
    assert (seen.said, told(two)) == ([], [("found", "phi3/2", "None", "Production")])
    _delete_for_good(two, second)
    experiment_id(two, tags.PROMOTIONS)  # by another process
    promote(two, "phi3/3", "Production")
    assert told(two) == [("found", "phi3/2", "None", "Production")]


def _delete_for_good(settings: Settings, experiment_id: str) -> None:
    """As `mlflow gc` does."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    mlflow_client(settings).delete_experiment(experiment_id)
    SqlAlchemyStore(settings.tracking_uri, str(settings.artifacts))._hard_delete_experiment(experiment_id)


# ---------------------------------------------------------------- stores that know less


@pytest.fixture
def without_stages(http_server: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    with proxy(http_server, refuses=STAGES, hides=STAGE_FIELDS) as behind:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", behind.url)
        yield load_settings()


@pytest.fixture
def without_aliases(http_server: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    with proxy(http_server, refuses=ALIASES, hides=ALIAS_FIELDS) as behind:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", behind.url)
        yield load_settings()


def promoted(settings: Settings, name: str) -> list[Record]:
    """name/1 to Staging and Production, name/2 to Production, and back."""
    for _ in range(3):
        register(settings, name)
    for number, stage in ((1, "Staging"), (1, "Production"), (2, "Production"), (3, "Staging")):
        done = promote(settings, f"{name}/{number}", stage, person=ADA)
        assert (done.version.ref, done.version.stage) == (f"{name}/{number}", stage)
    assert rollback(settings, name, "worse").version.ref == f"{name}/1"
    assert reader.get_version(settings, f"{name}/Production").version == 1
    seen = reconcile(settings, name)
    assert (seen.said, seen.wrong, seen.damage) == ([], [], [])
    listed = search.of_model(settings, name)
    assert {record.status for record in listed} == {"done"}
    assert (timeline.holder(listed, "Production"), timeline.holder(listed, "Staging")) == (1, 3)
    return listed


def test_where_there_are_no_stages_the_alias_alone_is_moved(without_stages: Settings, fresh: str) -> None:
    listed = promoted(without_stages, fresh)

    now = read_state(without_stages, fresh)
    assert (now.aliases, now.stages) == ({"production": 1, "staging": 3}, {1: "Production", 2: "None", 3: "Staging"})
    assert [(r.replaced, r.replaced_to) for r in listed if r.replaced] == [
        (f"{fresh}/2", "None"),
        (f"{fresh}/1", "None"),
    ]
    assert promote(without_stages, f"{fresh}/1", "None").version.stage == "None"
    with pytest.raises(BadInput, match="This store has no stages"):
        promote(without_stages, f"{fresh}/1", "Archived")
    mlflow_client(without_stages).set_registered_model_alias(fresh, "production", "2")
    assert "from outside" in reconcile(without_stages, fresh).said[0]
    assert reconcile(without_stages, fresh).said == []


def test_where_there_are_no_aliases_the_stages_alone_are_moved(without_aliases: Settings, fresh: str) -> None:
    promoted(without_aliases, fresh)

    assert read_state(without_aliases, fresh).stages == {1: "Production", 2: "Archived", 3: "Staging"}
    with pytest.raises(BadInput, match="This store has no aliases"):
        set_alias(without_aliases, f"{fresh}/1", "champion")
    version = reader.get_version(without_aliases, f"{fresh}/2")
    listed = reader.list_versions(without_aliases, fresh)
    assert plan_move(without_aliases, version, "Production", listed).unguarded


def test_where_there_are_no_aliases_a_version_can_leave_its_stage_too(without_aliases: Settings, fresh: str) -> None:
    for number, target in ((1, "Production"), (2, "Staging")):
        register(without_aliases, fresh)
        promote(without_aliases, f"{fresh}/{number}", target, person=ADA)

    for number, target in ((1, "Archived"), (2, "None")):
        done = promote(without_aliases, f"{fresh}/{number}", target, person=ADA)
        assert done.version.stage == target

    now = read_state(without_aliases, fresh)
    assert (now.aliases, now.stages) == ({}, {1: "Archived", 2: "None"})
    assert reconcile(without_aliases, fresh).said == []
    assert {record.status for record in search.of_model(without_aliases, fresh)} == {"done"}
    assert rollback(without_aliases, fresh, "too early").version.ref == f"{fresh}/1"


def test_where_there_are_no_aliases_the_highest_version_in_production_is_its_holder_as_it_is_for_mlflow(
    without_aliases: Settings, fresh: str
) -> None:
    promoted(without_aliases, fresh)
    mlflow_client(without_aliases).transition_model_version_stage(fresh, "2", "Production")

    assert reader.get_version(without_aliases, f"{fresh}/Production").version == 2
    seen = reconcile(without_aliases, fresh)

    assert f"was moved from {fresh}/1 to {fresh}/2 from outside" in seen.said[0]
    assert stages(without_aliases, fresh) == {1: "Archived", 2: "Production", 3: "Staging"}
    mlflow_client(without_aliases).transition_model_version_stage(fresh, "1", "Production")

    assert reader.get_version(without_aliases, f"{fresh}/Production").version == 2
    assert reconcile(without_aliases, fresh).said != []
    assert stages(without_aliases, fresh) == {1: "Archived", 2: "Production", 3: "Staging"}
    assert reconcile(without_aliases, fresh).said == []
