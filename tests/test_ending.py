"""What becomes of the record of somebody who died on the way, and of what he wanted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from phi3core import copying, promotion, registry, store
from phi3core.errors import Conflict
from phi3core.promotion import carrying, looking, moving, policy, records, state, writing
from phi3core.settings import Settings
from phi3core.store import Abilities, client

from .fakes import elsewhere, register
from .races.killing import WRITES
from .test_looking import ADA, ROOT, sound, stages


@pytest.fixture
def two(settings: Settings) -> Settings:
    """phi3/1 archived, phi3/2 in Production, phi3/3 in none."""
    for _ in range(3):
        register(settings)
    for number in (1, 2):
        promotion.promote(settings, f"phi3/{number}", "Production", person=ADA)
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
    dying = Dying(client(settings), last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_client", lambda _: dying)
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

        promotion.look(two, "phi3")

        record = records.page(two, model="phi3", action="set policy").records[0]
        assert (record.status, last > 2) == (("done", True) if is_set else ("interrupted", False)), (last, record)
        if is_set:
            assert policy.as_recorded(two, "phi3", "Production", wanted) == ""
        assert sound(two)
    assert last == 6


def test_of_a_policy_that_was_set_anew_since_nobody_says_that_it_was_never_set(two: Settings) -> None:
    assert dies(two, 3, partial(policy.write, two, "phi3", "Production", policy.Policy(approvals=1), ROOT))
    policy.write(two, "phi3", "Production", policy.Policy(approvals=2), ROOT)

    promotion.look(two, "phi3")

    later, record = records.page(two, model="phi3", action="set policy").records
    assert (later.status, record.status) == ("done", "interrupted")
    assert record.outcome == (
        "Whoever did it died on the way, and it may have happened. By now another policy is set: "
        "Production needs 2 approvals."
    )
    assert policy.as_recorded(two, "phi3", "Production", policy.Policy(approvals=2)) == ""


def test_a_copy_that_was_made_before_its_writer_died_is_recorded_as_done(two: Settings) -> None:
    for last, status in ((2, "interrupted"), (3, "done")):
        assert dies(two, last, partial(copying.copy, two, "phi3/1", "phi3-edge", ADA))
        promotion.look(two, "phi3")
        assert records.page(two, model="phi3", action="copy").records[0].status == status
    assert len(registry.versions(two, "phi3-edge")) == 1


def test_a_copy_to_another_server_whose_writer_died_says_where_to_look(two: Settings) -> None:
    there = "phi3-edge at http://mlflow:5000"

    def send() -> None:
        with records.opened(two, ADA, model="phi3", version=1, action="copy", old="phi3/1", new=there):
            raise AssertionError

    assert dies(two, 2, send)

    promotion.look(two, "phi3")

    (record,) = records.page(two, model="phi3", action="copy").records
    assert record.status == "interrupted"
    assert record.outcome.endswith(f"See there whether a version has the tag phi3.origin.version = phi3/1: {there}.")


def test_a_dead_record_behind_very_many_others_is_closed_too(two: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dies(two, 2, partial(promotion.set_alias, two, "phi3/1", "champion", "", ADA))
    monkeypatch.setattr(looking, "_RECENT", 5)
    for _ in range(6):
        records.append(two, ADA, model="phi3", version=1, action="request")

    assert promotion.look(two, "phi3").said[0].endswith("was interrupted. Whoever wanted it died before it happened.")

    assert records.page(two, model="phi3", status="open").records == ()
    assert promotion.look(two, "phi3").said == []


def test_who_died_on_another_machine_at_anything_short_is_waited_for_as_long_as_a_promoter(
    two: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion.set_alias(two, "phi3/1", "old", person=ADA)
    other = elsewhere(two, tmp_path / "other")
    acts: list[Callable[[], object]] = [
        partial(promotion.delete_version, other, "phi3/3", "no use", ROOT),
        partial(promotion.set_alias, other, "phi3/1", "champion", "", ADA),
        partial(promotion.delete_alias, other, "phi3", "old", "", ADA),
        partial(policy.write, other, "phi3", "Staging", policy.Policy(approvals=1), ROOT),
        partial(copying.copy, other, "phi3/1", "phi3-edge", ADA),
    ]
    for act in acts:
        assert dies(two, 2, act)
    assert len(promotion.look(two, "phi3").in_flight) == len(acts)

    later = writing.now() + timedelta(seconds=61)
    monkeypatch.setattr(writing, "now", lambda: later)
    seen = promotion.look(two, "phi3")

    assert len(seen.said) == len(acts) - 1
    assert [record.action for record in seen.in_flight] == ["copy"]  # which sends gigabytes
    assert promotion.look(two, "phi3").said == []


@pytest.mark.parametrize(("act", "ends"), [("back", {1: "Production", 2: "Archived"}), ("None", {2: "None"})])
def test_where_there_are_no_aliases_the_stages_are_in_order_wherever_a_promoter_is_killed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, act: str, ends: dict[int, str]
) -> None:
    monkeypatch.setitem(store._abilities, settings.tracking_uri, Abilities(stages=True, aliases=False))
    for last in itertools.count(1):
        name = f"phi3-{last}"
        for number in (1, 2):
            register(settings, name)
            promotion.promote(settings, f"{name}/{number}", "Production", person=ADA)
        before = stages(settings, name)
        does = partial(promotion.rollback, settings, name, "worse", ADA)
        if act != "back":
            does = partial(promotion.promote, settings, f"{name}/2", act, person=ADA)
        if not dies(settings, last, does):
            break

        promotion.look(settings, name)

        now = stages(settings, name)
        assert now in (before, before | ends), last
        assert promotion.look(settings, name).said == []
        listed = records.of_model(settings, name)
        assert "open" not in {record.status for record in listed}
        assert records.holder(listed, "Production") == state.read(settings, name).holder("Production")
        if last > 2 and now != before:
            assert next(r for r in listed if r.user == ADA.name).status == "done"
    assert stages(settings, name) == before | ends
    assert last > 5


def test_where_there_are_no_aliases_two_who_promote_at_once_agree_on_the_higher_version(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(store._abilities, settings.tracking_uri, Abilities(stages=True, aliases=False))
    for _ in range(3):
        register(settings)
    promotion.promote(settings, "phi3/1", "Production", person=ADA)
    other, real, late = elsewhere(settings, tmp_path / "other"), carrying._move_stages, [True]

    def later(of: Settings, *args: Any) -> None:
        if late.pop() if late else False:
            promotion.promote(other, "phi3/3", "Production", person=ROOT)
        real(of, *args)

    monkeypatch.setattr(carrying, "_move_stages", later)
    monkeypatch.setattr(moving, "_COURTESY", 0.1)
    monkeypatch.setattr(carrying, "_OWNERS", 0.1)

    with pytest.raises(Conflict, match=r"phi3/3 was moved to Production by root@example.org at the same moment"):
        promotion.promote(settings, "phi3/2", "Production", person=ADA)

    assert stages(settings) == {1: "Archived", 2: "None", 3: "Production"}
    assert promotion.look(settings, "phi3").said == []
