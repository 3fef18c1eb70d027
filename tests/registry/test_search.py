"""What a search of the registry's snapshot finds, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.errors import BadInput
from phi3core.registry import reader
from phi3core.registry.index import Index
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.conftest import home_of_its_own
from tests.registry.hits import refs
from tests.support.fakes import register


@pytest.fixture(scope="module")
def filled(empty_store: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Five versions of three models, read once. Only search in it."""
    with home_of_its_own(tmp_path_factory.mktemp("filled") / "home", cache, empty_store) as settings:
        yield fill(settings)


def fill(settings: Settings) -> Index:
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


def test_a_version_in_the_copy_is_what_the_registry_says(settings: Settings) -> None:
    filled = fill(settings)

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


def test_what_can_be_chosen_is_what_there_is(filled: Index) -> None:
    choices = filled.filter_options

    assert choices.models == ("gemma", "old", "phi3")
    assert choices.aliases == ("champion", "production")
    assert choices.wrappers == ("onnx", "transformers")
    assert choices.owners == ("ada", "Eve")
    assert choices.metrics == ("loss", "speed")
    assert {"team", tags.SIZE} <= set(choices.tags)
