"""What every store of ours must do, what the tests' own stores really are, and stores that know less than MLflow's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from phi3core.errors import StoreDown, StoreError
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings
from phi3core.store.client import Abilities, find_abilities, mlflow_client
from tests.support import proxy as proxy_module
from tests.support.fakes import register
from tests.support.proxy import Proxy, proxy

Behind = Callable[..., tuple[Settings, Proxy]]


@pytest.fixture
def behind(http_server: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Behind]:
    """Settings whose store is the server, with a proxy in front of it."""
    with ExitStack() as stack:

        def start(**given: Any) -> tuple[Settings, Proxy]:
            made = stack.enter_context(proxy(http_server, **given))
            monkeypatch.setenv("MLFLOW_TRACKING_URI", made.url)
            return load_settings(), made

        yield start


def test_a_store_keeps_versions_metrics_aliases_and_files(store: Settings, fresh: str, tmp_path: Path) -> None:
    register(store, fresh)
    register(store, fresh, metrics={"speed": 2.0})
    mlflow_client(store).set_registered_model_alias(fresh, "champion", "2")
    version = reader.list_versions(store, fresh)[0]
    (tmp_path / "notes.txt").write_text("kept")
    (tmp_path / "back").mkdir()

    mlflow_client(store).log_artifact(version.run_id, str(tmp_path / "notes.txt"))
    again = mlflow_client(store).download_artifacts(version.run_id, "notes.txt", str(tmp_path / "back"))

    assert (version.ref, version.aliases, version.metrics) == (f"{fresh}/2", ("champion",), {"speed": 2.0})
    assert Path(again).read_text() == "kept"


def test_the_server_on_postgres_keeps_its_files_in_the_object_store(
    postgres_server: str, s3_server: dict[str, str], settings: Settings, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres_server)
    store = load_settings()
    register(store, fresh, metrics={"speed": 2.0})
    run_id = reader.list_versions(store, fresh)[0].run_id
    mlflow_client(store).log_text(run_id, "kept", "notes.txt")

    bucket = boto3.client(
        "s3",
        endpoint_url=s3_server["MLFLOW_S3_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    names = [found["Key"] for found in bucket.list_objects_v2(Bucket="models").get("Contents", [])]

    assert [name for name in names if run_id in name and name.endswith("notes.txt")] != []


# ---------------------------------------------------------------- what a store can do


def test_our_stores_know_stages_and_aliases(store: Settings) -> None:
    assert find_abilities(store) == Abilities(stages=True, aliases=True)


def test_a_store_without_stages_is_found_out_and_its_aliases_tell_the_stage(behind: Behind, fresh: str) -> None:
    store, _ = behind(refuses=proxy_module.STAGES, hides=proxy_module.STAGE_FIELDS)
    for _ in range(3):
        register(store, fresh)
    mlflow_client(store).set_registered_model_alias(fresh, "production", "2")

    assert find_abilities(store) == Abilities(stages=False, aliases=True)
    assert [version.stage for version in reader.list_versions(store, fresh)] == ["None", "Production", "None"]
    assert reader.get_version(store, f"{fresh}/Production").version == 2


def test_a_store_without_aliases_is_found_out_and_its_stages_stand_in(behind: Behind, fresh: str) -> None:
    store, _ = behind(refuses=proxy_module.ALIASES, hides=proxy_module.ALIAS_FIELDS)
    for _ in range(3):
        register(store, fresh)
    mlflow_client(store).transition_model_version_stage(fresh, "2", "Production")

    assert find_abilities(store) == Abilities(stages=True, aliases=False)
    assert reader.get_version(store, f"{fresh}/Production").version == 2
    assert [version.stage for version in reader.list_versions(store, fresh)] == ["None", "Production", "None"]
    (model,) = (model for model in reader.list_models(store) if model.name == fresh)
    assert (model.production, model.newest) == (2, 3)


def test_what_a_store_can_do_is_asked_once_and_only_read(behind: Behind) -> None:
    store, made = behind(refuses=proxy_module.STAGES)

    assert find_abilities(store) == find_abilities(store) == Abilities(stages=False, aliases=True)

    # MLflow's client knows two addresses for the one.
    assert dict(made.asked) == {"registered-models/get-latest-versions": 2, "registered-models/alias": 1}


def test_a_store_that_fails_is_not_taken_for_one_that_knows_less(behind: Behind) -> None:
    store, made = behind(broken=500)
    with pytest.raises(StoreError):
        find_abilities(store)

    made.broken = 0

    assert find_abilities(store) == Abilities(stages=True, aliases=True)


# ---------------------------------------------------------------- slow, and broken for a moment


def test_a_slow_store_works_like_any_other(behind: Behind, fresh: str) -> None:
    store, _ = behind(delay=0.3)
    register(store, fresh, metrics={"speed": 1.0})

    assert reader.list_versions(store, fresh)[0].metrics == {"speed": 1.0}


def test_a_connection_that_broke_is_tried_again(behind: Behind) -> None:
    store, made = behind()
    reader.list_models(store)

    made.resets = 1

    reader.list_models(store)
    assert made.resets == 0


def test_a_server_that_fails_says_so_and_is_not_called_away(behind: Behind) -> None:
    store, made = behind()
    reader.list_models(store)
    made.broken = 500

    with pytest.raises(StoreError, match="failed with error 500") as caught:
        reader.list_models(store)

    assert not isinstance(caught.value, StoreDown)
