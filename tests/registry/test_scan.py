"""A scan of the store: in how many calls, in which parts, with which runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from mlflow.store.entities import PagedList

from phi3core.registry import reader
from phi3core.registry import scan as scan_module
from phi3core.registry.index import Index
from phi3core.settings import Settings
from phi3core.store import client as store_module
from phi3core.store.client import mlflow_client
from tests.registry.hits import refs
from tests.support.fakes import CountingClient, only_for, register


@pytest.mark.parametrize("versions", [3, 30])
def test_a_reading_takes_as_many_calls_as_there_are_pages(
    settings: Settings, versions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(versions):
        register(settings, f"model-{number}", metrics={"speed": 1.0})
    counting = CountingClient(mlflow_client(settings))
    for module in (reader, scan_module):
        monkeypatch.setattr(module, "mlflow_client", only_for(settings, counting))
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
    monkeypatch.setattr(scan_module, "_PAGE", 2)
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

    monkeypatch.setattr(scan_module, "mlflow_client", lambda settings: Slow())
    monkeypatch.setattr(store_module, "time", SimpleNamespace(monotonic=lambda: clock))

    read = [number for page in scan_module._pages(settings, "search_model_versions") for number in page]

    assert read == list(range(4000))
    assert sizes[:10] == [100, 200, 400, 500, 250, 250, 250, 250, 500, 500]
