"""The registry in memory: how it keeps up with the store, and what it says while it can't."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from phi3core.promotion import edit
from phi3core.registry import index, reader
from phi3core.registry.index import INTERVAL, Index, _freeze_for_garbage_collector
from phi3core.registry.search import IndexEntry
from phi3core.settings import Settings, load_settings
from phi3core.store.client import mlflow_client, notify_change
from tests.registry.hits import refs
from tests.support.clock import ManualClock
from tests.support.fakes import register, until
from tests.support.proxy import proxy


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_registered_model_without_versions_is_known_until_it_is_deleted(settings: Settings) -> None:
    register(settings, "phi3")
    mlflow_client(settings).create_registered_model("empty")
    made = Index(settings)
    made.refresh()
    assert (made.filter_options.models, made.models_without_versions) == (("empty", "phi3"), ["empty"])
    mlflow_client(settings).delete_registered_model("empty")
    made.refresh_model("empty")
    assert made.filter_options.models == ("phi3",)
    mlflow_client(settings).create_registered_model("empty")
    made.refresh_model("empty")
    assert made.models_without_versions == ["empty"]
    made.refresh()
    assert made.models_without_versions == ["empty"]


# ---------------------------------------------------------------- keeping up


def test_an_index_that_was_never_read_says_so(settings: Settings) -> None:
    empty = Index(settings)

    assert (empty.ready, empty.age, empty.search().total) == (False, None, 0)


def test_the_first_time_versions_can_be_searched_before_their_metrics_are_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(settings, "phi3", tags={"team": "search"}, metrics={"speed": 1.0})
    go, real = threading.Event(), reader.get_runs_in_batches
    made = Index(settings)

    def slow(*given: object) -> Iterator[object]:
        go.wait(10)
        yield from real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "get_runs_in_batches", slow)
    made.start()
    try:
        until(lambda: made.ready)
        assert (refs(made, tag="team"), made.search().versions[0].metrics) == (["phi3/1"], {})
        go.set()
        until(lambda: made.search().versions[0].metrics == {"speed": 1.0})
    finally:
        go.set()
        made.stop()


def test_what_is_kept_in_memory_is_left_out_when_garbage_is_looked_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_freeze_for_garbage_collector", _freeze_for_garbage_collector)
    register(settings, "phi3")
    made = Index(settings, ManualClock())
    gc.unfreeze()
    try:
        made.start()
        until(lambda: made.ready and gc.get_freeze_count())

        assert not any(isinstance(found, IndexEntry) for found in gc.get_objects())
        assert made.search().total == 1
    finally:
        made.stop()
        gc.freeze()  # as it was before: see tests/conftest.py


@pytest.fixture
def running(settings: Settings, clock: ManualClock) -> Iterator[Index]:
    """An index that keeps itself fresh and has read the store once."""
    register(settings, "first")
    made = Index(settings, clock)
    made.start()
    until(lambda: made.ready and clock.waits)
    yield made
    made.stop()


def test_what_others_change_is_seen_with_the_next_scan(running: Index, settings: Settings, clock: ManualClock) -> None:
    mlflow_client(settings).set_registered_model_alias("first", "champion", "1")
    assert refs(running, alias="champion") == []

    clock.advance(INTERVAL)
    until(lambda: refs(running, alias="champion") == ["first/1"])
    until(lambda: clock.waits)
    mlflow_client(settings).delete_registered_model("first")
    clock.advance(INTERVAL)
    until(lambda: running.search(model="first").total == 0)


def test_a_new_version_is_seen_long_before_the_next_scan(
    running: Index, settings: Settings, clock: ManualClock
) -> None:
    register(settings, "first")
    register(settings, "second")
    clock.advance(INTERVAL / 6)
    until(lambda: (running.search(model="first").total, running.search(model="second").total) == (2, 1))
    until(lambda: clock.waits)

    mlflow_client(settings).transition_model_version_stage("first", "1", "Staging")
    clock.advance(INTERVAL / 6)
    until(lambda: "Staging" in [version.stage for version in running.search(model="first").versions])
    assert refs(running, stage="Staging") == ["first/1"]  # no reserved alias says otherwise


def test_a_thread_that_waits_gets_what_was_read_after_it_asked_and_no_scan_is_made_twice(settings: Settings) -> None:
    register(settings, "phi3")
    made, scans, go = Index(settings), list[object](), threading.Event()
    real = made._scanner.scan

    def slow(*given: object, **named: object) -> Iterator[object]:
        scans.append(given)
        go.wait(10)
        yield from real(*given, **named)  # type: ignore[arg-type]

    made._scanner.scan = slow  # type: ignore[method-assign, assignment]
    first = threading.Thread(target=made.refresh)
    first.start()
    until(lambda: scans)
    others = [threading.Thread(target=made.refresh) for _ in range(3)]
    for thread in others:
        thread.start()
    until(lambda: made._waiting == 3)
    go.set()
    for thread in (first, *others):
        thread.join(10)

    assert len(scans) == 2


def test_what_this_process_changes_is_seen_at_once(settings: Settings) -> None:
    register(settings, "phi3")
    made = Index(settings, ManualClock())
    made.start()
    until(lambda: made.ready)
    try:
        edit.set_tag(settings, "phi3/1", "team", "search")
        assert refs(made, tag="team=search") == ["phi3/1"]

        mlflow_client(settings).delete_registered_model("phi3")
        notify_change(settings, "phi3")
        assert made.search().total == 0
    finally:
        made.stop()


def test_a_scan_that_began_before_a_change_does_not_undo_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(settings, "phi3")
    made = Index(settings)
    real = made._scanner.scan

    def scan_then_change(*given: object, **named: object) -> Iterator[object]:
        for models in real(*given, **named):  # type: ignore[arg-type]
            mlflow_client(settings).set_model_version_tag("phi3", "1", "team", "search")
            made.refresh_model("phi3")
            yield models

    monkeypatch.setattr(made._scanner, "scan", scan_then_change)
    made.refresh()

    assert refs(made, tag="team") == ["phi3/1"]


def test_metrics_that_came_later_are_seen_with_the_change_that_tells_of_them(settings: Settings) -> None:
    register(settings, "phi3", metrics={"speed": 1.0})
    made = Index(settings)
    made.refresh()
    run_id = reader.list_versions(settings, "phi3")[0].run_id
    mlflow_client(settings).log_metric(run_id, "speed", 2.0)

    made.refresh_model("phi3")
    assert made.search().versions[0].metrics == {"speed": 2.0}
    made.refresh()
    assert made.search().versions[0].metrics == {"speed": 2.0}


def test_while_the_store_is_away_the_last_copy_is_kept_and_it_comes_back_by_itself(
    http_server: str, settings: Settings, fresh: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(http_server) as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.url)
        store = load_settings()
        register(store, fresh)
        kept = Index(store, clock)
        kept.start()
        try:
            until(lambda: kept.search(model=fresh).total == 1 and clock.waits)
            made.broken = 503
            clock.advance(INTERVAL)
            until(lambda: kept.error)
            assert "does not answer" in kept.error
            found = kept.search(model=fresh)
            assert (found.total, found.error, found.age) == (1, kept.error, timedelta(seconds=INTERVAL))

            made.broken = 0
            register(store, fresh)
            until(lambda: clock.waits)
            clock.advance(INTERVAL / 10)
            until(lambda: kept.search(model=fresh).total == 2)
            assert kept.error == ""
        finally:
            kept.stop()


def test_a_search_never_waits_for_the_store(
    http_server: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(http_server) as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.url)
        kept = Index(load_settings())
        kept.refresh()
        asked = sum(made.asked.values())

        kept.search("anything", stage="Production")

        assert sum(made.asked.values()) == asked
