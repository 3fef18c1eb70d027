"""Reading models, versions and their details from a store."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.errors import NotFound
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.conftest import MODEL, Built
from tests.support.fakes import CountingClient, only_for, register


def test_a_number_an_alias_and_a_stage_resolve_to_the_same_version(settings: Settings) -> None:
    register(settings)
    register(settings, tags={tags.WRAPPER: "onnx", tags.SIZE: "123", tags.PRECISION: "int4"}, metrics={"speed": 9.5})
    for alias in ("champion", "production"):
        mlflow_client(settings).set_registered_model_alias("phi3", alias, "2")

    found = [reader.get_version(settings, f"phi3{end}") for end in ("/2", "@champion", "/Production")]

    assert found[0] == found[1] == found[2]
    assert found[0].ref == "phi3/2"
    assert found[0].aliases == ("champion", "production")
    assert (found[0].wrapper, found[0].size, found[0].precision) == ("onnx", 123, "int4")
    assert found[0].metrics == {"speed": 9.5}


def test_production_is_what_the_alias_says_whatever_the_stages_are(settings: Settings) -> None:
    register(settings)
    register(settings)
    mlflow_client(settings).transition_model_version_stage("phi3", "2", "Production")
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "1")

    assert reader.get_version(settings, "phi3/Production").version == 1


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("nothing/1", "There is no registered model “nothing”"),
        ("phi3/7", "phi3 has no version 7"),
        ("phi3/0", "phi3 has no version 0"),
        ("phi3/99999999999999999999", "phi3 has no version"),
        ("phi3@champion", "phi3 has no alias @champion. Its aliases: none yet."),
        ("phi3/Production", "No version of phi3 is in Production yet. Promote one first."),
        ("phi3/Staging", "No version of phi3 is in Staging yet"),
    ],
)
def test_what_is_not_there_is_named(settings: Settings, ref: str, told: str) -> None:
    register(settings)

    with pytest.raises(NotFound) as caught:
        reader.get_version(settings, ref)

    assert told in str(caught.value)


def test_an_empty_registry_lists_nothing(settings: Settings) -> None:
    assert reader.list_models(settings) == []


def test_models_come_most_recently_changed_first(settings: Settings) -> None:
    register(settings, "older")
    register(settings, "newer")
    register(settings, "older")
    mlflow_client(settings).set_registered_model_alias("older", "production", "1")
    mlflow_client(settings).set_registered_model_alias("older", "staging", "2")

    older, newer = reader.list_models(settings)

    assert (older.name, older.newest, older.production, older.staging) == ("older", 2, 1, 2)
    assert (newer.name, newer.newest, newer.production) == ("newer", 1, None)


def test_a_model_without_versions_is_listed_too(settings: Settings) -> None:
    mlflow_client(settings).create_registered_model("bare")

    assert reader.list_models(settings)[0].newest is None
    assert reader.list_versions(settings, "bare") == []


def test_the_newest_version_is_the_highest_whatever_its_stage(settings: Settings) -> None:
    for _ in range(3):
        register(settings)
    mlflow_client(settings).transition_model_version_stage("phi3", "2", "Production")

    assert reader.list_models(settings)[0].newest == 3


def test_versions_come_newest_first_with_their_aliases_and_metrics(settings: Settings) -> None:
    for speed in (1.0, 2.0):
        register(settings, metrics={"speed": speed})
    register(settings)
    mlflow_client(settings).set_registered_model_alias("phi3", "champion", "1")

    listed = reader.list_versions(settings, "phi3")

    assert [version.version for version in listed] == [3, 2, 1]
    assert [version.aliases for version in listed] == [(), (), ("champion",)]
    assert [version.metrics for version in listed] == [{}, {"speed": 2.0}, {"speed": 1.0}]
    assert all(version.created.tzinfo is UTC and version.created.year >= 2026 for version in listed)


def test_metrics_survive_the_deletion_of_the_run(settings: Settings) -> None:
    register(settings, metrics={"speed": 3.0})
    mlflow_client(settings).delete_run(reader.get_version(settings, "phi3/1").run_id)

    assert reader.list_versions(settings, "phi3")[0].metrics == {"speed": 3.0}


@pytest.mark.parametrize("name", ["it's", 'say "phi"', "a@b", "Φ-3 mini", "100%_sure"])
def test_a_model_may_have_an_odd_name(settings: Settings, name: str) -> None:
    register(settings, name)
    register(settings, "another")

    assert [version.ref for version in reader.list_versions(settings, name)] == [f"{name}/1"]
    assert reader.get_version(settings, f"{name}/1").name == name


def test_versions_of_an_unknown_model_are_not_an_empty_list(settings: Settings) -> None:
    with pytest.raises(NotFound, match="There is no registered model “nothing”"):
        reader.list_versions(settings, "nothing")


@pytest.mark.parametrize("rows", [1, 12])
def test_a_list_takes_the_same_few_calls_whatever_its_length(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    for number in range(rows):
        register(settings, "phi3", metrics={"speed": float(number)})
        register(settings, f"model-{number}")
    counting = CountingClient(mlflow_client(settings))
    monkeypatch.setattr(reader, "mlflow_client", only_for(settings, counting))

    assert len(reader.list_versions(settings, "phi3")) == rows
    assert dict(counting.calls) == {
        "get_registered_model": 1,
        "search_model_versions": 1,
        "search_experiments": 1,
        "search_runs": 1,
    }

    counting.calls.clear()
    assert len(reader.list_models(settings)) == rows + 1
    assert dict(counting.calls) == {"search_registered_models": 1}


@pytest.mark.parametrize("models", [2, 12])
def test_a_page_of_models_takes_three_calls_whatever_its_length(
    settings: Settings, models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(models):
        register(settings, f"model-{number}", metrics={"speed": float(number)})
    counting = CountingClient(mlflow_client(settings))
    monkeypatch.setattr(reader, "mlflow_client", only_for(settings, counting))

    page = reader.search_models(settings)

    assert sorted(row.version.metrics["speed"] for row in page.summaries if row.version) == list(range(models))
    assert dict(counting.calls) == {"search_registered_models": 1, "search_experiments": 1, "search_runs": 1}


def test_a_row_shows_the_version_in_production_else_the_newest(store: Settings, fresh: str) -> None:
    for name in ("produced", "new"):
        for number in range(1, 4):
            register(store, f"{fresh}-{name}", tags={"number": str(number)}, metrics={"speed": float(number)})
    mlflow_client(store).set_registered_model_alias(f"{fresh}-produced", "production", "2")
    mlflow_client(store).transition_model_version_stage(f"{fresh}-produced", "2", "Production")
    mlflow_client(store).create_registered_model(f"{fresh}-without")

    rows = {row.model.name.removeprefix(fresh): row for row in reader.search_models(store, fresh).summaries}

    assert set(rows) == {"-produced", "-new", "-without"}
    assert rows["-produced"].version == reader.get_version(store, f"{fresh}-produced/Production")
    assert rows["-new"].version == reader.get_version(store, f"{fresh}-new/3")
    assert rows["-without"].version is None


def test_pages_of_models_follow_each_other_most_recently_changed_first(settings: Settings) -> None:
    for number in range(5):
        register(settings, f"model-{number}")
    register(settings, "other")

    first = reader.search_models(settings, "MODEL-", limit=3)
    second = reader.search_models(settings, "MODEL-", limit=3, token=first.next_page_token)

    names = [row.model.name for row in (*first.summaries, *second.summaries)]
    assert names == [f"model-{number}" for number in (4, 3, 2, 1, 0)]
    assert (bool(first.next_page_token), second.next_page_token) == (True, "")


@pytest.mark.parametrize("text", ["it's", 'say "hi"', """'"'""", "50%", "a_b"])
def test_a_part_of_a_name_may_have_any_letters(settings: Settings, text: str) -> None:
    register(settings, f"x{text}y")
    register(settings, "other")

    assert [row.model.name for row in reader.search_models(settings, text).summaries] == [f"x{text}y"]


def test_the_owner_is_who_the_tag_names_else_who_made_the_run(settings: Settings) -> None:
    register(settings, tags={tags.USER: "ada"}, metrics={"speed": 1.0})
    register(settings, metrics={"speed": 1.0})
    register(settings)
    runs = [version.run_id for version in reader.list_versions(settings, "phi3")]
    mlflow_client(settings).set_tag(runs[1], "mlflow.user", "bob")

    assert [version.owner for version in reader.list_versions(settings, "phi3")] == ["", "bob", "ada"]
    assert reader.get_version(settings, "phi3/2").owner == "bob"


def test_the_detail_of_a_version_without_files_still_shows_the_rest(settings: Settings, tmp_path: Path) -> None:
    register(settings, source=(tmp_path / "gone").as_uri(), metrics={"speed": 1.0})
    version = reader.get_version(settings, "phi3/1")
    mlflow_client(settings).log_param(version.run_id, "build.source", "embedded")

    detail = reader.get_details(settings, version)

    assert "can't be read" in detail.mlmodel_error
    assert detail.parameters == {"build.source": "embedded"}
    assert detail.inputs == detail.outputs == detail.params == []


@pytest.mark.model
def test_the_detail_of_a_real_version_says_what_it_takes(built: Built) -> None:
    detail = reader.get_details(built.settings, reader.get_version(built.settings, f"{MODEL}/2"))

    assert detail.mlmodel_error == ""
    assert detail.inputs == ["prompt: string"]
    assert detail.outputs == ["string"]
    assert detail.params == [
        "max_tokens: long = 300",
        "temperature: double = 0.2",
        "top_p: double = 0.9",
        "top_k: long = 50",
        "min_p: double = 0.0",
        "repetition_penalty: double = 1.1",
        "seed: long = -1",
        "stop: string = []",
    ]
    assert detail.parameters["build.wrapper"] == "onnx"
    assert detail.options["repetition_penalty"] == 1.1
    assert detail.flavors == ("python_function",)
