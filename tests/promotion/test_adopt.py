"""A model whose stages were set by scripts: what every reader finds, and what adopting it changes and records."""

from __future__ import annotations

import pytest

from phi3core.errors import Conflict, Forbidden
from phi3core.promotion.adopt import adopt
from phi3core.promotion.aliases import read_state
from phi3core.promotion.delete import delete_version
from phi3core.promotion.policy import requests
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search
from phi3core.promotion.rollback import rollback
from phi3core.registry import reader
from phi3core.registry.index import Index
from phi3core.registry.models import Version
from phi3core.serving.gateway.catalogue import list_references
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.helpers import ADA, aliases, sound, stages
from tests.support.fakes import register
from tests.support.judging import EVE


@pytest.fixture
def scripted(three: Settings) -> Settings:
    """phi3/1 and phi3/2 in MLflow's Production, phi3/3 in its Staging; no alias."""
    for number, stage in (("1", "Production"), ("2", "Production"), ("3", "Staging")):
        mlflow_client(three).transition_model_version_stage("phi3", number, stage)
    return three


def moves(settings: Settings) -> list[tuple[str, str, str, str]]:
    """The records, oldest first."""
    return [(r.action, r.ref, r.old, r.new) for r in reversed(search.of_model(settings, "phi3"))]


def found(settings: Settings) -> list[tuple[str, str, str]]:
    return [(version.ref, version.stage, version.contrary_stage) for version in reader.list_versions(settings, "phi3")]


def test_who_is_in_production_is_answered_alike_wherever_it_is_asked(scripted: Settings) -> None:
    index = Index(scripted)
    index.refresh()
    state = read_state(scripted, "phi3")
    listed = {one["id"]: one["root"] for one in list_references(scripted)}
    model = reader.list_models(scripted)[0]
    summary = reader.search_models(scripted).summaries[0]

    def ref(version: Version | None) -> str:
        return version.ref if version else ""

    answers = {
        "reference": reader.get_version(scripted, "phi3/Production").ref,
        "alias's reference": reader.get_version(scripted, "phi3@production").ref,
        "list": next(v.ref for v in reader.list_versions(scripted, "phi3") if v.stage == "Production"),
        "index": ref(index.search(stage="Production").versions[0]),
        "models": f"phi3/{model.production}",
        "page of models": ref(summary.version),
        "state": f"phi3/{state.places.holders['Production']}",
        "chat": f"phi3/{model.references['phi3/Production']}",
        "/v1": listed["phi3/Production"],
        "reconciliation": next(v.ref for v in reconcile(scripted, "phi3").versions if v.stage == "Production"),
    }

    assert set(answers.values()) == {"phi3/2"}, answers
    assert (model.staging, listed["phi3/Staging"]) == (3, "phi3/3")
    assert index.search(stage="Production").total == 1


def test_of_two_versions_in_a_stage_the_lower_one_is_shown_as_disagreeing(scripted: Settings) -> None:
    assert found(scripted) == [
        ("phi3/3", "Staging", ""),
        ("phi3/2", "Production", ""),
        ("phi3/1", "None", "Production"),
    ]
    assert [version.lacks_alias for version in reader.list_versions(scripted, "phi3")] == [True, True, False]


def test_once_an_alias_exists_it_speaks_and_the_stages_disagree(scripted: Settings) -> None:
    mlflow_client(scripted).set_registered_model_alias("phi3", "production", "1")

    assert found(scripted) == [
        ("phi3/3", "None", "Staging"), ("phi3/2", "None", "Production"), ("phi3/1", "Production", ""),
    ]  # fmt: skip
    assert reader.get_version(scripted, "phi3/Production").ref == "phi3/1"


def test_another_alias_leaves_the_stages_their_word(scripted: Settings) -> None:
    mlflow_client(scripted).set_registered_model_alias("phi3", "champion", "1")

    assert reader.get_version(scripted, "phi3/Production").ref == "phi3/2"
    assert reconcile(scripted, "phi3").messages == []


def test_adopting_gives_both_their_aliases_and_records_it_as_promotions(scripted: Settings) -> None:
    done = adopt(scripted, "phi3", "As the nightly script said.", ADA)

    assert [(version.ref, version.stage) for version in done] == [("phi3/2", "Production"), ("phi3/3", "Staging")]
    assert aliases(scripted) == {"production": 2, "staging": 3}
    assert stages(scripted) == {1: "None", 2: "Production", 3: "Staging"}
    assert moves(scripted) == [
        ("promote", "phi3/2", "Production", "Production"),
        ("promote", "phi3/3", "Staging", "Staging"),
        ("repair", "phi3/1", "Production", "None"),
    ]
    record = search.of_model(scripted, "phi3")[-1]
    assert (record.user, record.reason, record.status) == (ADA.name, "As the nightly script said.", "done")
    assert record.outcome == ("phi3/2 was in Production by MLflow's stage alone. @production points at it from now on.")
    assert sound(scripted)
    with pytest.raises(Conflict, match="No version of phi3 is in Production or Staging by MLflow's stage alone"):
        adopt(scripted, "phi3", person=ADA)


def test_what_was_adopted_can_be_rolled_back_to(scripted: Settings) -> None:
    adopt(scripted, "phi3", person=ADA)
    promote(scripted, "phi3/1", "Production", person=ADA)

    assert rollback(scripted, "phi3", "It was better.").version.ref == "phi3/2"


def test_a_promotion_adopts_the_other_stage_first_so_that_nobody_leaves_it(scripted: Settings) -> None:
    promote(scripted, "phi3/1", "Production", person=ADA)

    assert stages(scripted) == {1: "Production", 2: "Archived", 3: "Staging"}
    assert moves(scripted) == [
        ("found", "phi3/2", "None", "Production"),
        ("found", "phi3/3", "None", "Staging"),
        ("promote", "phi3/1", "None", "Production"),
    ]
    assert sound(scripted)


def test_archiving_the_one_leaves_the_other_where_it_is(scripted: Settings) -> None:
    promote(scripted, "phi3/3", "Archived", person=ADA)

    assert reader.get_version(scripted, "phi3/Production").ref == "phi3/2"
    assert stages(scripted)[3] == "Archived"
    assert sound(scripted)


def test_a_stage_that_a_script_sets_after_the_app_left_it_speaks_again(two: Settings) -> None:
    promote(two, "phi3/2", "Archived", person=ADA)  # from here on no alias is reserved
    mlflow_client(two).transition_model_version_stage("phi3", "3", "Production")
    mlflow_client(two).transition_model_version_stage("phi3", "1", "Staging")

    assert reconcile(two, "phi3").messages == []
    assert reader.get_version(two, "phi3/Production").ref == "phi3/3"
    assert [version.ref for version in adopt(two, "phi3", person=ADA)] == ["phi3/3", "phi3/1"]
    assert sound(two)


def test_a_version_in_production_by_its_stage_is_neither_deleted_nor_asked_for(scripted: Settings) -> None:
    with pytest.raises(Conflict, match="phi3/2 is in Production"):
        delete_version(scripted, "phi3/2", "why")
    with pytest.raises(Conflict, match="phi3/2 is in Production already"):
        requests.ask(scripted, "phi3/2", "Production", "why", EVE)


def test_adopting_needs_a_releaser(scripted: Settings) -> None:
    with pytest.raises(Forbidden):
        adopt(scripted, "phi3", person=EVE)
    assert aliases(scripted) == {}


def test_a_model_in_no_stage_has_nothing_to_adopt(settings: Settings) -> None:
    register(settings)
    with pytest.raises(Conflict, match="No version of phi3 is in Production or Staging"):
        adopt(settings, "phi3", person=ADA)
