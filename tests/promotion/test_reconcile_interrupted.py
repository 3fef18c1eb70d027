"""What becomes of the record of a process that was interrupted, and of the change that it intended."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from phi3core.promotion.copy import copy_version
from phi3core.promotion.delete import delete_version
from phi3core.promotion.policy import checks, policy
from phi3core.promotion.promote import delete_alias, set_alias
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import history, search, writer
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.promotion.helpers import ADA, ROOT, dies, sound
from tests.support.fakes import elsewhere


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
            assert checks.unrecorded_change(two, history.read(two, "phi3"), "Production", wanted) == ""
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
    assert checks.unrecorded_change(two, history.read(two, "phi3"), "Production", policy.Policy(approvals=2)) == ""


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
    monkeypatch.setattr(history, "_RECENT", 5)
    for _ in range(6):
        writer.append(two, ADA, model="phi3", version=1, action="request")

    assert reconcile(two, "phi3").messages[0].endswith("was interrupted. Whoever wanted it died before it happened.")

    assert search.page(two, model="phi3", status="open").records == ()
    assert reconcile(two, "phi3").messages == []


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

    assert len(seen.messages) == len(acts) - 1
    assert [record.action for record in seen.in_flight] == ["copy"]  # which sends gigabytes
    assert reconcile(two, "phi3").messages == []
