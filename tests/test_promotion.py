from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from phi3core import keys, promotion, registry
from phi3core.errors import BadInput, Conflict, NotFound, Phi3Error, StoreError
from phi3core.promotion import promote
from phi3core.settings import Settings
from phi3core.store import client, experiment

from .fakes import register


@pytest.fixture
def three(settings: Settings) -> Settings:
    """A store with phi3/1, phi3/2 and phi3/3, none of them promoted."""
    for _ in range(3):
        register(settings)
    return settings


def stages(settings: Settings) -> dict[int, str]:
    return {version.version: version.stage for version in registry.versions(settings, "phi3")}


def aliases(settings: Settings) -> dict[str, int]:
    return registry.models(settings)[0].aliases


def records(settings: Settings) -> list[Any]:
    """The records of promotions, oldest first."""
    runs = client(settings).search_runs([experiment(settings, keys.PROMOTIONS)], order_by=["attributes.start_time ASC"])
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
        registry.resolve(three, "phi3/Production")


def test_other_aliases_stay_where_they_are(three: Settings) -> None:
    promotion.set_alias(three, "phi3/1", "champion")
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
    promotion.set_alias(three, "phi3/1", "champion")

    moved = promotion.set_alias(three, "phi3/2", "champion")

    assert moved.aliases == ("champion",)
    assert aliases(three) == {"champion": 2}


def test_a_deleted_alias_is_gone(three: Settings) -> None:
    promotion.set_alias(three, "phi3/1", "champion")

    promotion.delete_alias(three, "phi3", "champion")

    assert aliases(three) == {}


def test_deleting_an_alias_that_is_not_there_says_so(three: Settings) -> None:
    with pytest.raises(NotFound, match="has no alias @champion"):
        promotion.delete_alias(three, "phi3", "champion")


@pytest.mark.parametrize("alias", ["production", "Production", "STAGING", "latest", "Latest", "v3", "V12"])
def test_a_reserved_alias_is_refused(three: Settings, alias: str) -> None:
    promote(three, "phi3/1", "Production")

    with pytest.raises(BadInput, match="reserved"):
        promotion.set_alias(three, "phi3/2", alias)
    with pytest.raises(BadInput, match="reserved"):
        promotion.delete_alias(three, "phi3", alias)

    assert aliases(three) == {"production": 1}


@pytest.mark.parametrize("alias", ["", "a b", "a/b", "a@b", "ä!", ".hidden"])
def test_an_alias_of_odd_characters_is_refused(three: Settings, alias: str) -> None:
    with pytest.raises(BadInput, match="An alias is made of"):
        promotion.set_alias(three, "phi3/1", alias)


# ---------------------------------------------------------------- records


def test_every_move_is_recorded_with_who_and_why(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    done = promote(three, "phi3/2", "Production", reason="faster", user="ada")

    record = records(three)[-1]

    assert record.info.run_id == done.record
    assert record.info.status == "FINISHED"
    tags = record.data.tags
    assert (tags[keys.MODEL_NAME], tags[keys.VERSION]) == ("phi3", "2")
    assert (tags[keys.FROM], tags[keys.TO]) == ("None", "Production")
    assert (tags[keys.REASON], tags[keys.USER], tags["phi3.replaced"]) == ("faster", "ada", "phi3/1")


def test_aliases_are_recorded_too(three: Settings) -> None:
    promotion.set_alias(three, "phi3/1", "champion", user="ada")
    promotion.delete_alias(three, "phi3", "champion", reason="no more", user="bob")

    made, deleted = records(three)

    assert (made.data.tags[keys.ACTION], made.data.tags[keys.TO]) == ("set alias", "@champion")
    assert (deleted.data.tags[keys.ACTION], deleted.data.tags[keys.FROM]) == ("delete alias", "@champion")
    assert (deleted.data.tags[keys.USER], deleted.data.tags[keys.REASON]) == ("bob", "no more")
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
        patch.setattr(promotion, "client", lambda _: Refusing(client(three), "transition_model_version_stage"))
        with pytest.raises(StoreError, match="the store refuses"):
            promote(three, "phi3/2", "Production")

    record = records(three)[-1]
    assert record.info.status == "FAILED"
    assert "the store refuses" in record.data.tags["phi3.error"]
    assert aliases(three) == {"production": 2}
    assert promotion.disagreements(three, "phi3") != []

    promote(three, "phi3/2", "Production")

    assert promotion.disagreements(three, "phi3") == []
    assert stages(three) == {1: "Archived", 2: "Production", 3: "None"}


def test_a_promotion_whose_stages_never_agree_says_who_is_in_the_way(
    three: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = client(three)

    class Ignoring(Refusing):
        def _refuse(self, *_: object) -> None:
            """Say yes and do nothing, as if somebody else undid it at once."""

    monkeypatch.setattr(promotion, "client", lambda _: Ignoring(store, "transition_model_version_stage"))

    with pytest.raises(Conflict, match="phi3/2 has the alias @production but the stage None"):
        promote(three, "phi3/2", "Production")

    assert records(three)[-1].info.status == "FAILED"


def test_an_alias_that_somebody_else_creates_at_the_same_moment_is_tried_again(
    three: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    store, refusals = client(three), iter([True])

    class Racing(Refusing):
        def _refuse(self, *arguments: object) -> None:
            """What SQLite's store raises when two promoters create one alias; facts.md: in a quarter of the calls."""
            if next(refusals, False):
                text = "(sqlite3.IntegrityError) UNIQUE constraint failed: registered_model_aliases.name"
                raise MlflowException(text, error_code="BAD_REQUEST")
            store.set_registered_model_alias(*arguments)

    monkeypatch.setattr(promotion, "client", lambda _: Racing(store, "set_registered_model_alias"))

    promote(three, "phi3/2", "Production")

    assert aliases(three) == {"production": 2}


# ---------------------------------------------------------------- what others do behind our back


def test_two_versions_in_production_are_told_and_repaired_by_the_next_promotion(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    for number in "23":
        client(three).transition_model_version_stage("phi3", number, "Production")

    assert promotion.disagreements(three, "phi3") == [
        "phi3/3 has the stage Production but not the alias @production.",
        "phi3/2 has the stage Production but not the alias @production.",
    ]

    promote(three, "phi3/1", "Production")

    assert promotion.disagreements(three, "phi3") == []
    assert stages(three) == {1: "Production", 2: "Archived", 3: "Archived"}


def test_an_alias_moved_by_hand_is_obeyed_by_the_next_promotion(three: Settings) -> None:
    promote(three, "phi3/1", "Production")
    client(three).set_registered_model_alias("phi3", "production", "2")

    promote(three, "phi3/3", "Staging")

    assert stages(three) == {1: "Archived", 2: "Production", 3: "Staging"}
    assert aliases(three) == {"production": 2, "staging": 3}


def test_a_version_with_both_aliases_is_in_production(three: Settings) -> None:
    for alias in ("production", "staging"):
        client(three).set_registered_model_alias("phi3", alias, "2")

    promote(three, "phi3/1", "Archived")

    assert stages(three) == {1: "Archived", 2: "Production", 3: "None"}


def test_a_promotion_waits_for_nobody_of_another_model(three: Settings) -> None:
    register(three, "other")
    with FileLock(three.locks / "promote-other.lock"):
        promote(three, "phi3/1", "Production")

    assert aliases(three)["production"] == 1


# ---------------------------------------------------------------- many at once

PROMOTERS, ROUNDS = 4, 8
Result = list[tuple[int, int, str]]


def _promoter(home: Path, uri: str, me: int, barrier: Any, results: Any) -> None:
    """In every round, promote one's own version at the same moment as all the others."""
    settings = Settings(home, uri, home / "cache")
    settings.locks.mkdir(parents=True, exist_ok=True)
    registry.models(settings)
    for round_number in range(ROUNDS):
        barrier.wait(60)
        try:
            promote(settings, f"phi3/{me}", "Production")
            results.put((round_number, me, "done"))
        except Phi3Error as error:
            results.put((round_number, me, str(error)))
        barrier.wait(60)  # the judge looks now
        barrier.wait(60)


def _race(settings: Settings, homes: list[Path]) -> tuple[list[list[int]], list[dict[str, int]], Result]:
    """After every round: who has the stage Production, and the aliases; and what each promoter got."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROMOTERS + 1), context.Queue()
    processes = [
        context.Process(target=_promoter, args=(home, settings.tracking_uri, me, barrier, results), daemon=True)
        for me, home in enumerate(homes, start=1)
    ]
    for process in processes:
        process.start()
    in_production, pointed = [], []
    for _ in range(ROUNDS):
        barrier.wait(60)
        barrier.wait(60)
        in_production.append([number for number, stage in stages(settings).items() if stage == "Production"])
        pointed.append(aliases(settings))
        barrier.wait(60)
    got = [results.get(timeout=20) for _ in range(PROMOTERS * ROUNDS)]
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    return in_production, pointed, got


def test_promotions_at_the_same_moment_leave_exactly_one_version_in_production(three: Settings) -> None:
    register(three)

    in_production, pointed, got = _race(three, [three.home] * PROMOTERS)

    assert [len(numbers) for numbers in in_production] == [1] * ROUNDS
    assert [{"production": numbers[0]} for numbers in in_production] == pointed
    assert {outcome for _, _, outcome in got} == {"done"}
    assert {record.info.status for record in records(three)} == {"FINISHED"}


def test_promoters_on_different_machines_never_leave_two_holders_of_the_alias(three: Settings, tmp_path: Path) -> None:
    register(three)

    _, pointed, got = _race(three, [tmp_path / f"machine-{number}" for number in range(PROMOTERS)])

    assert all(set(holders) == {"production"} for holders in pointed)
    assert any(outcome == "done" for _, _, outcome in got)
    assert not any("sqlalchemy" in outcome or "UNIQUE" in outcome for _, _, outcome in got), got
    promote(three, "phi3/Production", "Production")  # the next look
    assert promotion.disagreements(three, "phi3") == []
    assert list(stages(three).values()).count("Production") == 1
