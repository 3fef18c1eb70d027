"""A record is written complete, open while its change is under way, and restored."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from phi3core import tags
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, writer
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.promotion.record.helpers import ADA, BOB, add


def test_a_record_says_everything_that_it_was_given(settings: Settings) -> None:
    checks = [{"name": "approvals", "met": True, "says": "2 of 2: ada, “bob”"}]

    made = add(
        settings, version=3, action="approve", old="None", new="Staging", replaced="phi3/1", replaced_to="Archived",
        reason=" tried it ", digest="d1", checks=checks, override="urgent", request="r1",
    )  # fmt: skip

    (read,) = search.of_model(settings, "phi3")
    assert read == made
    assert (read.model, read.version, read.action, read.old, read.new) == ("phi3", 3, "approve", "None", "Staging")
    assert (read.replaced, read.replaced_to, read.reason) == ("phi3/1", "Archived", "tried it")
    assert (read.user, read.role, read.host) == ("ada@example.org", "releaser", writer.host(settings))
    assert (read.digest, read.checks, read.override, read.request) == ("d1", tuple(checks), "urgent", "r1")
    assert (read.status, read.outcome, read.intact, read.previous) == ("done", "Done.", True, "")
    assert read.ended is not None
    assert timedelta() <= datetime.now(UTC) - read.started < timedelta(minutes=1)


def test_a_record_is_open_while_the_change_is_under_way_and_done_after(settings: Settings) -> None:
    with writer.opened(settings, ADA, model="phi3", version=1, action="copy", reason="because") as record:
        (during,) = search.of_model(settings, "phi3")
        record.outcome = "It is copied."
    (after,) = search.of_model(settings, "phi3")

    assert (during.id, during.status, during.outcome, during.ended) == (record.id, "open", "", None)
    assert during.intact
    assert writer.is_writer_alive(settings, during) is False  # it was when it was read
    assert (after.status, after.outcome, after.intact) == ("done", "It is copied.", True)


def test_whoever_has_a_record_open_is_alive(settings: Settings, tmp_path: Any) -> None:
    with writer.opened(settings, ADA, model="phi3", version=1, action="copy"):
        (during,) = search.of_model(settings, "phi3")
        assert writer.is_writer_alive(settings, during) is True
        elsewhere = dataclasses.replace(settings, home=tmp_path / "other")
        elsewhere.locks.mkdir(parents=True)
        assert writer.is_writer_alive(elsewhere, during) is None  # it cannot be told from there
    assert list(settings.locks.glob("record-*")) == []


def test_a_change_that_raises_leaves_a_failed_record(settings: Settings) -> None:
    with (
        pytest.raises(Conflict, match="someone"),
        writer.opened(settings, ADA, model="phi3", version=1, action="copy"),
    ):
        raise Conflict("someone was faster")

    (record,) = search.of_model(settings, "phi3")
    assert (record.status, record.outcome, record.intact) == ("failed", "someone was faster", True)


def test_a_reason_that_does_not_fit_is_refused_and_changes_nothing(settings: Settings) -> None:
    with pytest.raises(BadInput, match="has 2001 characters. Write at most 2000"):
        add(settings, reason="x" * 2001)

    assert search.state(settings) == "none yet"


def test_evidence_that_does_not_fit_is_cut_and_the_lines_stay(settings: Settings) -> None:
    made = add(settings, checks=[{"name": f"line {n}", "met": n % 2 == 0, "says": "ä" * 1500} for n in range(20)])

    assert made.intact
    assert [(check["name"], check["met"]) for check in made.checks] == [(f"line {n}", n % 2 == 0) for n in range(20)]
    assert all(0 < len(check["says"]) < 1500 for check in made.checks)


def test_a_deleted_experiment_of_records_is_noticed_stops_promotions_and_is_restored(three: Settings) -> None:
    before = search.of_model(three, "phi3")
    mlflow_client(three).delete_experiment(experiment_id(three, tags.PROMOTIONS))

    assert search.state(three) == "deleted"
    assert reconcile(three, "phi3").records_state == "deleted"
    assert reconcile(three, "phi3").messages == []  # nothing is taken for a change from outside
    with pytest.raises(Conflict, match="was deleted"):
        promote(three, "phi3/1", "Production")
    assert mlflow_client(three).get_registered_model("phi3").aliases["production"] in (3, "3")
    with pytest.raises(Forbidden, match="needs the role admin"):
        writer.restore(three, ADA)

    writer.restore(three, BOB)

    assert search.state(three) == "ok"
    assert search.of_model(three, "phi3") == before
    assert search.verify(three, "phi3") == []
    assert [(r.action, r.user) for r in search.page(three, limit=1).records] == [("restore", "bob@example.org")]
    assert search.verify(three, "") == []
    promote(three, "phi3/1", "Production")


@pytest.mark.parametrize("which", [0, 1])
def test_a_restoration_that_was_deleted_from_the_record_is_missed(three: Settings, which: int) -> None:
    for _ in range(2):
        mlflow_client(three).delete_experiment(experiment_id(three, tags.PROMOTIONS))
        writer.restore(three, BOB)
    assert search.verify(three, "") == []

    mlflow_client(three).delete_run(search.page(three, action="restore").records[which].id)

    (sentence,) = search.verify(three, "")
    assert "is missing: it was deleted" in sentence


def test_nothing_is_restored_where_nothing_was_deleted(settings: Settings) -> None:
    with pytest.raises(NotFound, match="There are no records yet"):
        writer.restore(settings, BOB)
