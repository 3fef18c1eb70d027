"""What becomes of the record of somebody who died on the way, and of what he wanted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from phi3core.errors import Conflict
from phi3core.promotion import apply
from phi3core.promotion import promote as promote_module
from phi3core.promotion import reconcile as reconcile_module
from phi3core.promotion.aliases import read_state
from phi3core.promotion.copy import copy_version
from phi3core.promotion.delete import delete_version
from phi3core.promotion.policy import policy
from phi3core.promotion.promote import delete_alias, promote, rollback, set_alias
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, timeline, writer
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store import client as client_module
from phi3core.store.client import Abilities, mlflow_client
from tests.promotion.test_reconcile import ADA, ROOT, sound, stages
from tests.races.killing import WRITES
from tests.support.fakes import elsewhere, register


@pytest.fixture
def two(settings: Settings) -> Settings:
    """phi3/1 archived, phi3/2 in Production, phi3/3 in none."""
    for _ in range(3):
        register(settings)
    for number in (1, 2):
        promote(settings, f"phi3/{number}", "Production", person=ADA)
    return settings


class Killed(BaseException):
    """What no code catches, as little as SIGKILL."""


class Dying:
    """A client of somebody who is killed right after the write with this number: nothing comes of it any more."""

    def __init__(self, real: Any, last: int) -> None:
        self._real, self._left = real, last

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            if self._left == 0:
                raise Killed
            answer = method(*args, **kwargs)
            self._left -= name in WRITES
            if self._left == 0:
                raise Killed
            return answer

        return called


def dies(settings: Settings, last: int, act: Callable[[], object]) -> bool:
    """Whether it was killed: False where it was through before."""
    dying = Dying(mlflow_client(settings), last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_module, "_client", lambda _: dying)
        try:
            act()
        except Killed:
            return True
    return False


def test_wherever_who_sets_a_policy_is_killed_the_record_says_whether_it_is_set(two: Settings) -> None:
    for last in itertools.count(1):
        wanted = policy.Policy(approvals=last)
        if not dies(two, last, partial(policy.write, two, "phi3", "Production", wanted, ROOT)):
            break
        is_set = policy.read(two, "phi3").get("Production") == wanted

        reconcile(two, "phi3")

        record = search.page(two, model="phi3", action="set policy").records[0]
        assert (record.status, last > 2) == (("done", True) if is_set else ("interrupted", False)), (last, record)
        if is_set:
            assert policy.as_recorded(two, "phi3", "Production", wanted) == ""
        assert sound(two)
    assert last == 6


def test_of_a_policy_that_was_set_anew_since_nobody_says_that_it_was_never_set(two: Settings) -> None:
    assert dies(two, 3, partial(policy.write, two, "phi3", "Production", policy.Policy(approvals=1), ROOT))
    policy.write(two, "phi3", "Production", policy.Policy(approvals=2), ROOT)

    reconcile(two, "phi3")

    later, record = search.page(two, model="phi3", action="set policy").records
    assert (later.status, record.status) == ("done", "interrupted")
    assert record.outcome == (
        "Whoever did it died on the way, and it may have happened. By now another policy is set: "
        "Production needs 2 approvals."
    )
    assert policy.as_recorded(two, "phi3", "Production", policy.Policy(approvals=2)) == ""


def test_a_copy_that_was_made_before_its_writer_died_is_recorded_as_done(two: Settings) -> None:
    for last, status in ((2, "interrupted"), (3, "done")):
        assert dies(two, last, partial(copy_version, two, "phi3/1", "phi3-edge", ADA))
        reconcile(two, "phi3")
        assert search.page(two, model="phi3", action="copy").records[0].status == status
    assert len(reader.list_versions(two, "phi3-edge")) == 1


def test_a_copy_to_another_server_whose_writer_died_says_where_to_look(two: Settings) -> None:
    there = "phi3-edge at http://mlflow:5000"

    def send() -> None:
        with writer.opened(two, ADA, model="phi3", version=1, action="copy", old="phi3/1", new=there):
            raise AssertionError

    assert dies(two, 2, send)

    reconcile(two, "phi3")

    (record,) = search.page(two, model="phi3", action="copy").records
    assert record.status == "interrupted"
    assert record.outcome.endswith(f"See there whether a version has the tag phi3.origin.version = phi3/1: {there}.")


def test_a_dead_record_behind_very_many_others_is_closed_too(two: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dies(two, 2, partial(set_alias, two, "phi3/1", "champion", "", ADA))
    monkeypatch.setattr(reconcile_module, "_RECENT", 5)
    for _ in range(6):
        writer.append(two, ADA, model="phi3", version=1, action="request")

    assert reconcile(two, "phi3").said[0].endswith("was interrupted. Whoever wanted it died before it happened.")

    assert search.page(two, model="phi3", status="open").records == ()
    assert reconcile(two, "phi3").said == []


def test_who_died_on_another_machine_at_anything_short_is_waited_for_as_long_as_a_promoter(
    two: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_alias(two, "phi3/1", "old", person=ADA)
    other = elsewhere(two, tmp_path / "other")
    acts: list[Callable[[], object]] = [
        partial(delete_version, other, "phi3/3", "no use", ROOT),
        partial(set_alias, other, "phi3/1", "champion", "", ADA),
        partial(delete_alias, other, "phi3", "old", "", ADA),
        partial(policy.write, other, "phi3", "Staging", policy.Policy(approvals=1), ROOT),
        partial(copy_version, other, "phi3/1", "phi3-edge", ADA),
    ]
    for act in acts:
        assert dies(two, 2, act)
    assert len(reconcile(two, "phi3").in_flight) == len(acts)

    later = writer.now() + timedelta(seconds=61)
    monkeypatch.setattr(writer, "now", lambda: later)
    seen = reconcile(two, "phi3")

    assert len(seen.said) == len(acts) - 1
    assert [record.action for record in seen.in_flight] == ["copy"]  # which sends gigabytes
    assert reconcile(two, "phi3").said == []


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
        assert reconcile(settings, name).said == []
        listed = search.of_model(settings, name)
        assert "open" not in {record.status for record in listed}
        assert timeline.holder(listed, "Production") == read_state(settings, name).holder("Production")
        if last > 2 and now != before:
            assert next(r for r in listed if r.user == ADA.name).status == "done"
    assert stages(settings, name) == before | ends
    assert last > 5


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
    monkeypatch.setattr(apply, "_OWNERS", 0.1)

    with pytest.raises(Conflict, match=r"phi3/3 was moved to Production by root@example.org at the same moment"):
        promote(settings, "phi3/2", "Production", person=ADA)

    assert stages(settings) == {1: "Archived", 2: "None", 3: "Production"}
    assert reconcile(settings, "phi3").said == []
