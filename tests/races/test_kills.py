"""A promoter that is killed between any two calls of the store, and what the next look makes of what it left."""

from __future__ import annotations

import itertools
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from phi3core.promotion.aliases import read_state
from phi3core.promotion.delete import delete_version
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, timeline, writer
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.races.conftest import ALL
from tests.races.kill import ACTS, judge, killed, move, prepare
from tests.support.fakes import until

SAMPLE = ("from Staging to Production",)

pytestmark = pytest.mark.timeout(3600 if ALL else 600)


@pytest.mark.parametrize("act", ACTS if ALL else SAMPLE)
def test_wherever_a_promoter_is_killed_the_next_look_leaves_everything_in_order(
    everywhere: Settings, fresh: str, act: str
) -> None:
    for last in itertools.count(1):
        name = f"{fresh}-{last}"
        prepare(everywhere, name)
        before = read_state(everywhere, name)
        if not killed(everywhere, ACTS[act](name), last, all_calls=ALL):
            break
        judge(everywhere, name, act, before, f"killed after call {last}")
    else:
        raise AssertionError("it was never through")
    assert last > 5  # more calls than that were interrupted


def test_production_has_a_holder_at_every_moment_of_a_promotion(settings: Settings) -> None:
    prepare(settings, "watched")
    ended, missing = Event(), []

    def watch() -> None:
        while not ended.is_set():
            if read_state(settings, "watched").holder("Production") is None:
                missing.append("nobody")

    watcher = Thread(target=watch)
    watcher.start()
    for number in (3, 4, 1):
        promote(settings, f"watched/{number}", "Production")
    ended.set()
    watcher.join()

    assert missing == []


def test_a_promoter_that_died_on_another_machine_is_left_alone_for_a_minute(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(settings, "phi3")
    assert killed(settings, partial(move, ref="phi3/3", stage="Production"), 4, home=tmp_path / "other-machine")
    left = read_state(settings, "phi3")
    assert left.holder("Production") == 3
    assert left.stages[3] != "Production"

    waiting = reconcile(settings, "phi3")

    assert waiting.messages == []
    assert [record.ref for record in waiting.in_flight] == ["phi3/3"]
    assert waiting.mismatches != []
    monkeypatch.setattr(writer, "_PATIENCE", timedelta(0))

    seen = reconcile(settings, "phi3")

    assert (seen.in_flight, seen.mismatches) == ([], [])
    assert any("was interrupted" in sentence for sentence in seen.messages)
    assert {version.version: version.stage for version in seen.versions} == {
        1: "Archived",
        2: "Archived",
        3: "Production",
        4: "None",
    }


def test_a_look_that_is_killed_is_finished_by_the_next(settings: Settings) -> None:
    for last in itertools.count(1):
        name = f"looked-at-{last}"
        prepare(settings, name)
        store = mlflow_client(settings)
        store.set_registered_model_alias(name, "production", "4")
        store.transition_model_version_stage(name, "1", "Staging")
        if not killed(settings, partial(reconcile, name=name), last):
            break

        reconcile(settings, name)

        after = read_state(settings, name)
        assert after.stages == {1: "Archived", 2: "Archived", 3: "Staging", 4: "Production"}, last
        assert reconcile(settings, name).messages == []
        told = search.of_model(settings, name)
        assert timeline.holder(told, "Production") == 4
        assert search.verify(settings, name) == []
    assert last > 5


def test_a_version_whose_deletion_was_killed_is_there_or_gone(settings: Settings) -> None:
    for last in itertools.count(1):
        name = f"deleted-{last}"
        prepare(settings, name)
        if not killed(settings, partial(_delete, ref=f"{name}/4"), last):
            break
        gone = until(lambda name=name: 4 not in read_state(settings, name).stages) if last > 2 else False

        reconcile(settings, name)

        (record,) = search.page(settings, model=name, action="delete").records
        assert record.status == ("done" if gone else "interrupted")
    assert last > 3


def _delete(settings: Settings, ref: str) -> None:
    delete_version(settings, ref, "not needed")
