"""A version is deleted where it is not needed; also while it is promoted on a machine that shares no lock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict
from phi3core.promotion import apply, delete
from phi3core.promotion import promote as promote_module
from phi3core.promotion.aliases import ModelStages, assign, read_state
from phi3core.promotion.delete import delete_version, why_not_deleted
from phi3core.promotion.plan import Plan
from phi3core.promotion.policy.request_status import Request
from phi3core.promotion.promote import promote, set_alias
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.history import History
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.helpers import records, stages
from tests.support.fakes import elsewhere, register

ADA, ROOT = Person("ada", "releaser"), Person("root", "admin")


@pytest.fixture
def one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """phi3/1 in Production, phi3/2 in none; no process waits long for another."""
    for _ in range(2):
        register(settings)
    promote(settings, "phi3/1", "Production", person=ADA)
    monkeypatch.setattr(apply, "_DELETION_PATIENCE", 0.2)
    monkeypatch.setattr(promote_module, "_COURTESY", 0.2)
    return settings


def statuses(settings: Settings) -> list[tuple[str, str, str]]:
    """Action, version and status of all records but the first, oldest first."""
    return [(r.action, r.ref, r.status) for r in search.of_model(settings, "phi3")[-2::-1]]


def delete_while_refused(settings: Settings, patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Delete phi3/2 while a process on another machine tries something else with it, which is refused."""
    real = why_not_deleted

    def looked(settings: Settings, version: Version, asked: list[Request] | None = None) -> str:
        refused = real(settings, version, asked)
        with pytest.raises(Conflict, match="root is deleting phi3/2 at this moment. Look, and try again"):
            act()
        return refused

    patch.setattr(delete, "why_not_deleted", looked)
    delete_version(settings, "phi3/2", "no use", ROOT)


def test_a_version_that_is_being_deleted_on_another_machine_is_not_promoted(
    one: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = elsewhere(one, tmp_path / "other")

    delete_while_refused(one, monkeypatch, lambda: promote(other, "phi3/2", "Production", person=ADA))

    now = read_state(one, "phi3")
    assert (now.aliases, now.stages) == ({"production": 1}, {1: "Production"})
    assert statuses(one) == [("delete", "phi3/2", "done"), ("promote", "phi3/2", "failed")]
    assert reconcile(one, "phi3").messages == []


def test_a_version_that_is_being_deleted_on_another_machine_gets_no_alias(
    one: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = elsewhere(one, tmp_path / "other")

    delete_while_refused(one, monkeypatch, lambda: set_alias(other, "phi3/2", "champion", person=ADA))

    assert read_state(one, "phi3").aliases == {"production": 1}
    assert statuses(one) == [("delete", "phi3/2", "done"), ("set alias", "phi3/2", "failed")]


def test_a_version_is_not_deleted_while_it_is_given_an_alias_on_another_machine(
    one: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, real = elsewhere(one, tmp_path / "other"), assign

    def pointing(settings: Settings, name: str, alias: str, number: int) -> None:
        with pytest.raises(Conflict, match=r"ada is at work on phi3 \(phi3/2: set alias @champion\)"):
            delete_version(one, "phi3/2", "no use", ROOT)
        real(settings, name, alias, number)

    monkeypatch.setattr(promote_module, "assign", pointing)
    set_alias(other, "phi3/2", "champion", person=ADA)

    assert read_state(one, "phi3").aliases == {"production": 1, "champion": 2}
    assert statuses(one) == [("set alias", "phi3/2", "done"), ("delete", "phi3/2", "failed")]


def test_whoever_promotes_waits_until_the_deletion_has_ended_and_says_that_the_version_is_gone(
    one: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, deleting = elsewhere(one, tmp_path / "other"), ExitStack()

    def opened(settings: Settings, plan: Plan, record: writer.OpenRecord, history: History) -> ModelStages:
        """The deletion begins when the promotion has looked around, and has not yet seen its record."""
        intent = writer.opened(other, ROOT, model="phi3", version=2, action="delete", reason="no use")
        deleting.enter_context(intent)
        return apply.apply_plan(settings, plan, record, history)

    def waited(attempt: int) -> None:
        mlflow_client(other).delete_model_version("phi3", "2")
        deleting.close()

    monkeypatch.setattr(promote_module, "apply_plan", opened)
    monkeypatch.setattr(apply, "pause", waited)
    with pytest.raises(Conflict, match="phi3/2 was deleted at the same moment. Choose another version"):
        promote(one, "phi3/2", "Production", person=ADA)

    assert read_state(one, "phi3").aliases == {"production": 1}
    assert statuses(one) == [("promote", "phi3/2", "failed"), ("delete", "phi3/2", "done")]
    assert reconcile(one, "phi3").messages == []


def test_a_version_is_not_deleted_while_one_of_its_model_is_being_promoted_on_another_machine(
    one: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, real = elsewhere(one, tmp_path / "other"), assign

    def pointing(settings: Settings, name: str, alias: str, number: int) -> None:
        with pytest.raises(Conflict, match=r"ada is at work on phi3 \(phi3/2: promote, None → Production\)"):
            delete_version(one, "phi3/2", "no use", ROOT)
        real(settings, name, alias, number)

    monkeypatch.setattr(apply, "assign", pointing)
    promote(other, "phi3/2", "Production", person=ADA)

    assert read_state(one, "phi3").stages == {1: "Archived", 2: "Production"}
    assert statuses(one) == [("promote", "phi3/2", "done"), ("delete", "phi3/2", "failed")]
    with pytest.raises(Conflict, match="phi3/2 is in Production"):
        delete_version(one, "phi3/2", "no use", ROOT)


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
