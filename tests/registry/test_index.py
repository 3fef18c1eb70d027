"""The copy of the registry in memory: what it finds, and how it keeps up with the store."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from mlflow.store.entities import PagedList

from phi3core import tags
from phi3core.errors import BadInput
from phi3core.registry import editor, reader
from phi3core.registry import index as index_module
from phi3core.registry.index import Index
from phi3core.registry.search import IndexEntry
from phi3core.settings import Settings, load_settings
from phi3core.store import client as store_module
from phi3core.store.client import mlflow_client, notify_change
from tests.support.fakes import CountingClient, register, until
from tests.support.proxy import proxy


@pytest.fixture
def filled(settings: Settings) -> Index:
    """Five versions of three models, read once."""
    ada, eve = {tags.USER: "ada"}, {tags.USER: "Eve"}
    onnx, pipeline = {tags.WRAPPER: "onnx"}, {tags.WRAPPER: "transformers"}
    register(settings, "phi3", tags=ada | onnx | {tags.SOURCE: "hub:microsoft/Phi-3", "team": "search"})
    register(settings, "phi3", tags=eve | onnx | {tags.SIZE: "20", "team": "ads"}, metrics={"speed": 9.0})
    register(settings, "phi3", tags=ada | pipeline | {tags.SIZE: "300"}, metrics={"speed": 30.0})
    register(settings, "gemma", tags=eve | {"team": "search"}, metrics={"loss": 0.5})
    register(settings, "old")
    store = mlflow_client(settings)
    store.set_registered_model_alias("phi3", "production", "2")
    store.set_registered_model_alias("phi3", "champion", "3")
    store.transition_model_version_stage("phi3", "2", "Production")
    store.update_model_version("gemma", "1", "Trained on recipes from Crete")
    made = Index(settings)
    made.refresh()
    return made


def refs(index: Index, **wanted: object) -> list[str]:
    return [version.ref for version in index.search(**{"sort": "name", "descending": False} | wanted).versions]  # type: ignore[arg-type]


def test_a_version_in_the_copy_is_what_the_registry_says(filled: Index, settings: Settings) -> None:
    assert list(filled.search(model="phi3", sort="version").versions) == reader.list_versions(settings, "phi3")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["gemma/1", "old/1", "phi3/1", "phi3/2", "phi3/3"]),
        ({"text": "CRETE recipes"}, ["gemma/1"]),
        ({"text": "crete phi3"}, []),
        ({"text": "microsoft"}, ["phi3/1"]),
        ({"text": "phi3/2"}, ["phi3/2"]),
        ({"text": "@champion"}, ["phi3/3"]),
        ({"model": "phi3"}, ["phi3/1", "phi3/2", "phi3/3"]),
        ({"model": "phi"}, []),
        ({"stage": "Production"}, ["phi3/2"]),
        ({"stage": "None", "model": "phi3"}, ["phi3/1", "phi3/3"]),
        ({"alias": "champion"}, ["phi3/3"]),
        ({"alias": "@production"}, ["phi3/2"]),
        ({"wrapper": "onnx"}, ["phi3/1", "phi3/2"]),
        ({"source": "MICROSOFT/"}, ["phi3/1"]),
        ({"tag": "team"}, ["gemma/1", "phi3/1", "phi3/2"]),
        ({"tag": "team=search"}, ["gemma/1", "phi3/1"]),
        ({"tag": "team=sear"}, []),
        ({"owner": "eve"}, ["gemma/1", "phi3/2"]),
        ({"owner": "eve", "stage": "Production", "text": "ads"}, ["phi3/2"]),
    ],
)
def test_filters_and_words_must_all_be_met(filled: Index, wanted: dict[str, str], expected: list[str]) -> None:
    assert refs(filled, **wanted) == expected


@pytest.mark.parametrize(
    ("sort", "descending", "expected"),
    [
        ("name", True, ["phi3/3", "phi3/2", "phi3/1", "old/1", "gemma/1"]),
        ("created", False, ["phi3/1", "phi3/2", "phi3/3", "gemma/1", "old/1"]),
        ("stage", True, ["phi3/2", "gemma/1", "old/1", "phi3/3", "phi3/1"]),
        ("size", True, ["phi3/3", "phi3/2", "gemma/1", "old/1", "phi3/1"]),
        ("size", False, ["phi3/2", "phi3/3", "gemma/1", "old/1", "phi3/1"]),
        ("speed", True, ["phi3/3", "phi3/2", "gemma/1", "old/1", "phi3/1"]),
        ("speed", False, ["phi3/2", "phi3/3", "gemma/1", "old/1", "phi3/1"]),
    ],
)
def test_what_has_nothing_to_sort_by_comes_last(
    filled: Index, sort: str, descending: bool, expected: list[str]
) -> None:
    assert refs(filled, sort=sort, descending=descending) == expected


def test_nothing_is_sorted_by_what_nothing_has(filled: Index) -> None:
    with pytest.raises(BadInput, match="Nothing is sorted by “colour”"):
        filled.search(sort="colour")


def test_pages_are_cut_and_one_too_far_is_the_last(filled: Index) -> None:
    second = filled.search(sort="name", descending=False, page=2, per_page=2)
    beyond = filled.search(sort="name", descending=False, page=99, per_page=2)

    assert ([version.ref for version in second.versions], second.total, second.page, second.page_count) == (
        ["phi3/1", "phi3/2"],
        5,
        2,
        3,
    )
    assert ([version.ref for version in beyond.versions], beyond.page) == (["phi3/3"], 3)


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


def test_what_can_be_chosen_is_what_there_is(filled: Index) -> None:
    choices = filled.filter_options

    assert choices.models == ("gemma", "old", "phi3")
    assert choices.aliases == ("champion", "production")
    assert choices.wrappers == ("onnx", "transformers")
    assert choices.owners == ("ada", "Eve")
    assert choices.metrics == ("loss", "speed")
    assert {"team", tags.SIZE} <= set(choices.tags)


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


def test_what_is_kept_in_memory_is_left_out_when_garbage_is_looked_for(settings: Settings) -> None:
    register(settings, "phi3")
    made = Index(settings, interval=60)
    gc.unfreeze()
    try:
        made.start()
        until(lambda: made.ready and gc.get_freeze_count())

        assert not any(isinstance(found, IndexEntry) for found in gc.get_objects())
        assert made.search().total == 1
    finally:
        made.stop()
        gc.unfreeze()


@pytest.mark.parametrize("versions", [3, 30])
def test_a_reading_takes_as_many_calls_as_there_are_pages(
    settings: Settings, versions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(versions):
        register(settings, f"model-{number}", metrics={"speed": 1.0})
    counting = CountingClient(mlflow_client(settings))
    for module in (reader, index_module):
        monkeypatch.setattr(module, "mlflow_client", lambda _: counting)
    made = Index(settings)

    made.refresh()
    first = dict(counting.calls)
    counting.calls.clear()
    made.refresh()

    assert made.search().total == versions
    assert first == {
        "search_registered_models": 1,
        "search_model_versions": 1,
        "search_experiments": 1,
        "search_runs": 1,
    }
    assert dict(counting.calls) == {"search_registered_models": 1, "search_model_versions": 1}


def test_more_than_a_page_is_read_to_the_end(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_PAGE", 2)
    for number in range(5):
        register(settings, f"model-{number}", metrics={"speed": float(number)})
    mlflow_client(settings).set_registered_model_alias("model-4", "champion", "1")
    made = Index(settings)

    made.refresh()

    assert [version.metrics["speed"] for version in made.search(sort="speed").versions] == [4, 3, 2, 1, 0]
    assert refs(made, alias="champion") == ["model-4/1"]


def test_a_store_that_is_slow_with_many_versions_is_asked_for_fewer_before_it_is_taken_for_dead(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, sizes, pace = 0.0, list[int](), [0.001] * 3 + [0.006] * 4 + [0.001] * 100  # seconds a version

    class Slow:
        def search_model_versions(self, max_results: int, page_token: str | None) -> PagedList[int]:
            nonlocal clock
            clock += max_results * pace[len(sizes)]
            assert max_results * pace[len(sizes)] < 4, "the store would be said not to answer"
            sizes.append(max_results)
            start = int(page_token or 0)
            end = min(start + max_results, 4000)
            return PagedList(list(range(start, end)), None if end == 4000 else str(end))

    monkeypatch.setattr(index_module, "mlflow_client", lambda settings: Slow())
    monkeypatch.setattr(store_module, "time", SimpleNamespace(monotonic=lambda: clock))

    read = [number for page in index_module._pages(settings, "search_model_versions") for number in page]

    assert read == list(range(4000))
    assert sizes[:10] == [100, 200, 400, 500, 250, 250, 250, 250, 500, 500]


@pytest.fixture
def running(settings: Settings) -> Iterator[Index]:
    """An index that keeps itself fresh."""
    register(settings, "first")
    made = Index(settings, interval=0.1)
    made.start()
    until(lambda: made.ready)
    yield made
    made.stop()


def test_what_others_change_is_seen_a_little_later(running: Index, settings: Settings) -> None:
    register(settings, "second")

    until(lambda: running.search(model="second").total == 1)
    mlflow_client(settings).delete_registered_model("second")
    until(lambda: running.search(model="second").total == 0)


def test_a_new_version_is_seen_long_before_the_next_reading(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_LATEST_INTERVAL", 0.1)
    register(settings, "phi3")
    made = Index(settings, interval=3600)
    made.start()
    try:
        until(lambda: made.ready)
        register(settings, "phi3")
        until(lambda: made.search(model="phi3").total == 2)
        mlflow_client(settings).transition_model_version_stage("phi3", "1", "Staging")
        until(lambda: "Staging" in [version.stage for version in made.search(model="phi3").versions])
        assert refs(made, stage="Staging") == []  # the alias is the truth, and nobody has moved it
    finally:
        made.stop()


def test_one_who_waits_gets_what_was_read_after_he_asked_and_nobody_reads_twice(settings: Settings) -> None:
    register(settings, "phi3")
    made, readings, go = Index(settings), list[float](), threading.Event()
    real = made._read

    def slow(*given: object) -> Iterator[object]:
        readings.append(time.monotonic())
        go.wait(10)
        yield from real(*given)  # type: ignore[arg-type]

    made._read = slow  # type: ignore[method-assign, assignment]
    first = threading.Thread(target=made.refresh)
    first.start()
    until(lambda: readings)
    others = [threading.Thread(target=made.refresh) for _ in range(3)]
    for thread in others:
        thread.start()
    until(lambda: made._waiting == 3)
    go.set()
    for thread in (first, *others):
        thread.join(10)

    assert len(readings) == 2


def test_what_this_process_changes_is_seen_at_once(settings: Settings) -> None:
    register(settings, "phi3")
    made = Index(settings, interval=3600)
    made.start()
    until(lambda: made.ready)
    try:
        editor.set_tag(settings, "phi3/1", "team", "search")
        assert refs(made, tag="team=search") == ["phi3/1"]

        mlflow_client(settings).delete_registered_model("phi3")
        notify_change(settings, "phi3")
        assert made.search().total == 0
    finally:
        made.stop()


def test_a_reading_that_began_before_a_change_does_not_undo_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(settings, "phi3")
    made = Index(settings)
    real = made._read

    def read_then_change(*given: object) -> Iterator[object]:
        for read in real(*given):  # type: ignore[arg-type]
            mlflow_client(settings).set_model_version_tag("phi3", "1", "team", "search")
            made.refresh_model("phi3")
            yield read

    monkeypatch.setattr(made, "_read", read_then_change)
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
    http_server: str, settings: Settings, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(http_server) as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.url)
        store = load_settings()
        register(store, fresh)
        kept = Index(store, interval=0.2)
        kept.start()
        try:
            until(lambda: kept.search(model=fresh).total == 1)
            made.broken = 503
            until(lambda: kept.error)
            assert "does not answer" in kept.error
            found = kept.search(model=fresh)
            assert (found.total, found.error) == (1, kept.error)

            made.broken = 0
            register(store, fresh)
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
