"""Promotions that fail half-way, or meet another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phi3core import tags
from phi3core.errors import Conflict, StoreError
from phi3core.promotion import aliases as aliases_module
from phi3core.promotion import apply
from phi3core.promotion import promote as promote_module
from phi3core.promotion import reconcile as reconcile_module
from phi3core.promotion.aliases import ModelStages, read_state, transition
from phi3core.promotion.findings import mismatches_of
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import mismatches, reconcile, repair
from phi3core.settings import Settings
from phi3core.store import client as client_module
from phi3core.store.client import Abilities, mlflow_client
from tests.promotion.helpers import ADA, ROOT, Refusing, aliases, records, sound, stages, told
from tests.support.fakes import elsewhere, register


def test_a_promotion_that_fails_half_way_is_recorded_as_failed_and_finished_by_the_next(
    three: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(three, "phi3/1", "Production")
    with monkeypatch.context() as patch:
        patch.setattr(
            aliases_module, "mlflow_client", lambda _: Refusing(mlflow_client(three), "transition_model_version_stage")
        )
        with pytest.raises(StoreError, match="the store refuses"):
            promote(three, "phi3/2", "Production")

    record = records(three)[-1]
    assert record.info.status == "FAILED"
    assert "the store refuses" in record.data.tags[tags.OUTCOME]
    assert aliases(three) == {"production": 2}
    assert mismatches(three, "phi3") != []

    promote(three, "phi3/2", "Production")

    assert mismatches(three, "phi3") == []
    assert stages(three) == {1: "Archived", 2: "Production", 3: "None"}


def test_a_promotion_whose_stages_never_agree_says_who_is_in_the_way(
    three: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = mlflow_client(three)

    class Ignoring(Refusing):
        def _refuse(self, *_: object) -> None:
            """Say yes and do nothing, as if another process undid it at once."""

    monkeypatch.setattr(aliases_module, "mlflow_client", lambda _: Ignoring(store, "transition_model_version_stage"))
    monkeypatch.setattr(apply, "_PATIENCE", 1.0)

    with pytest.raises(Conflict, match="phi3/2 has the alias @production but the stage None"):
        promote(three, "phi3/2", "Production")

    assert records(three)[-1].info.status == "FAILED"


def test_where_there_are_no_aliases_two_who_promote_at_once_agree_on_the_higher_version(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(client_module._abilities, settings.tracking_uri, Abilities(stages=True, aliases=False))
    for _ in range(3):
        register(settings)
    promote(settings, "phi3/1", "Production", person=ADA)
    other, real, late = elsewhere(settings, tmp_path / "other"), apply._move_stages, [True]

    def later(of: Settings, *args: Any) -> None:
        if late.pop() if late else False:
            promote(other, "phi3/3", "Production", person=ROOT)
        real(of, *args)

    monkeypatch.setattr(apply, "_move_stages", later)
    monkeypatch.setattr(promote_module, "_COURTESY", 0.1)
    monkeypatch.setattr(apply, "_OWNER_PATIENCE", 0.1)

    with pytest.raises(Conflict, match=r"phi3/3 was moved to Production by root@example.org at the same moment"):
        promote(settings, "phi3/2", "Production", person=ADA)

    assert stages(settings) == {1: "Archived", 2: "None", 3: "Production"}
    assert reconcile(settings, "phi3").messages == []


def test_half_of_a_promotion_that_ends_on_another_machine_meanwhile_is_not_repaired(
    two: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, half = elsewhere(two, tmp_path / "other"), list[ModelStages]()

    def moving(*args: Any) -> None:
        half.append(read_state(two, "phi3"))
        transition(*args)

    def reading(settings: Settings, name: str) -> ModelStages:
        """What is read while the other one is half-way through; then it ends."""
        if settings == other or half:
            return read_state(settings, name)
        promote(other, "phi3/3", "Production", person=ADA)
        return half[0]

    monkeypatch.setattr(apply, "transition", moving)
    monkeypatch.setattr(reconcile_module, "read_state", reading)

    assert repair(two, "phi3").messages == []

    assert mismatches_of(half[0]) != []
    assert told(two) == []
    assert sound(two)


def test_a_promotion_that_failed_half_way_counts_where_it_moved_the_alias(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            aliases_module, "mlflow_client", lambda _: Refusing(mlflow_client(two), "transition_model_version_stage")
        )
        with pytest.raises(StoreError, match="the store refuses"):
            promote(two, "phi3/3", "Production", person=ADA)

    seen = reconcile(two, "phi3")

    assert stages(two) == {1: "Archived", 2: "Archived", 3: "Production"}
    assert seen.messages[0].startswith("The promotion of phi3/3 to Production that failed on 20")
    assert not any("from outside" in sentence for sentence in seen.messages)
    assert sound(two)
