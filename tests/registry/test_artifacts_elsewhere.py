"""The store's credentials go to the store: a version that names another web server is not fetched from there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phi3core.errors import StoreError
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings
from tests.support.fakes import register
from tests.support.listener import listening


@pytest.mark.parametrize("scheme", ["http", "mlflow-artifacts"])
def test_nothing_is_fetched_from_a_server_that_a_stranger_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "the-store-s")
    with listening() as (address, heard):
        register(settings, source=address.replace("http:", f"{scheme}:") + "/api/2.0/mlflow-artifacts/artifacts/x")
        version = reader.get_version(settings, "phi3/1")
        for read in (artifacts.list_files, artifacts.download, artifacts.read_state, artifacts.read_requirements):
            with pytest.raises(StoreError, match="which is not the store"):
                read(settings, version)
        assert heard == []


def test_an_admin_may_name_other_servers(settings: Settings) -> None:
    register(settings, source="mlflow-artifacts://files.example:5500/x")
    version = reader.get_version(settings, "phi3/1")
    allowed = replace(settings, artifact_hosts=frozenset({"files.example:5500"}))
    assert artifacts.artifact_uri(allowed, version) == "mlflow-artifacts://files.example:5500/x"
