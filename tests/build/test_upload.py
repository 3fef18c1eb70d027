"""What is recorded of a model that goes to a store on a server."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

from phi3core import tags
from phi3core.build import measure
from phi3core.build.spec import BuildSpec
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings, load_settings
from tests.build.conftest import Bench
from tests.support.conditions import QUIET


def test_what_was_just_uploaded_is_not_downloaded_and_its_digest_is_that_of_the_files_there(
    settings: Settings, http_server: str, tiny_onnx: Path, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", http_server)
    monkeypatch.setattr(measure, "measure_model", lambda *_: measure.Measurement(1.0, 1.0, 1.0, "text", QUIET))
    settings = load_settings()  # with the server as its store
    there = Bench(settings)
    before, upload = list(settings.home.rglob("*")), mlflow.MlflowClient.log_model_artifacts
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.artifacts, "download_artifacts", lambda *_: pytest.fail("it downloads"))
        there.run(BuildSpec("onnx", str(tiny_onnx), fresh))

    assert mlflow.MlflowClient.log_model_artifacts is upload
    assert not [path for path in settings.home.rglob("*.onnx*") if path not in before]
    version = reader.get_version(settings, f"{fresh}/1")
    files = artifacts.list_files(settings, version, read=True)  # fetched from the server
    assert version.tags[tags.SIZE] == str(sum(file.size for file in files))
    assert artifacts.matches_build(version, files) is True
