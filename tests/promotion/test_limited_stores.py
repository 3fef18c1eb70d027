"""Stores that know no stages, or no aliases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import pytest

from phi3core.errors import BadInput
from phi3core.promotion.aliases import read_state
from phi3core.promotion.plan import plan_move
from phi3core.promotion.promote import promote, set_alias
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, timeline
from phi3core.promotion.record.model import Record
from phi3core.promotion.rollback import rollback
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings
from phi3core.store import client as client_module
from phi3core.store.client import Abilities, mlflow_client
from tests.promotion.helpers import ADA, dies, stages
from tests.support.fakes import register
from tests.support.proxy import ALIAS_FIELDS, ALIASES, STAGE_FIELDS, STAGES, proxy


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
    assert (seen.messages, seen.mismatches, seen.damage) == ([], [], [])
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
    assert "from outside" in reconcile(without_stages, fresh).messages[0]
    assert reconcile(without_stages, fresh).messages == []


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
    assert reconcile(without_aliases, fresh).messages == []
    assert {record.status for record in search.of_model(without_aliases, fresh)} == {"done"}
    assert rollback(without_aliases, fresh, "too early").version.ref == f"{fresh}/1"


def test_where_there_are_no_aliases_the_highest_version_in_production_is_its_holder_as_it_is_for_mlflow(
    without_aliases: Settings, fresh: str
) -> None:
    promoted(without_aliases, fresh)
    mlflow_client(without_aliases).transition_model_version_stage(fresh, "2", "Production")

    assert reader.get_version(without_aliases, f"{fresh}/Production").version == 2
    seen = reconcile(without_aliases, fresh)

    assert f"was moved from {fresh}/1 to {fresh}/2 from outside" in seen.messages[0]
    assert stages(without_aliases, fresh) == {1: "Archived", 2: "Production", 3: "Staging"}
    mlflow_client(without_aliases).transition_model_version_stage(fresh, "1", "Production")

    assert reader.get_version(without_aliases, f"{fresh}/Production").version == 2
    assert reconcile(without_aliases, fresh).messages != []
    assert stages(without_aliases, fresh) == {1: "Archived", 2: "Production", 3: "Staging"}
    assert reconcile(without_aliases, fresh).messages == []


@pytest.mark.parametrize(("act", "ends"), [("back", {1: "Production", 2: "Archived"}), ("None", {2: "None"})])
def test_where_there_are_no_aliases_the_stages_are_in_order_wherever_a_promoter_is_killed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, act: str, ends: dict[int, str]
) -> None:
    monkeypatch.setitem(client_module._abilities, settings.tracking_uri, Abilities(stages=True, aliases=False))
    for last in itertools.count(1):
        name = f"phi3-{last}"
        for number in (1, 2):
            register(settings, name)
            promote(settings, f"{name}/{number}", "Production", person=ADA)
        before = stages(settings, name)
        does = partial(rollback, settings, name, "worse", ADA)
        if act != "back":
            does = partial(promote, settings, f"{name}/2", act, person=ADA)
        if not dies(settings, last, does):
            break

        reconcile(settings, name)

        now = stages(settings, name)
        assert now in (before, before | ends), last
        assert reconcile(settings, name).messages == []
        listed = search.of_model(settings, name)
        assert "open" not in {record.status for record in listed}
        assert timeline.holder(listed, "Production") == read_state(settings, name).holder("Production")
        if last > 2 and now != before:
            assert next(r for r in listed if r.user == ADA.name).status == "done"
    assert stages(settings, name) == before | ends
    assert last > 5
