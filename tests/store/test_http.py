"""A real `mlflow server`: the same registry over HTTP, where a version's number is a string and files are elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from phi3core.access.roles import Person
from phi3core.build import jobs
from phi3core.build.spec import BuildSpec
from phi3core.engine.loader import open_artifact
from phi3core.errors import BadInput, NotFound, StoreDown
from phi3core.promotion.promote import delete_alias, promote, set_alias
from phi3core.promotion.reconcile import mismatches
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings, load_settings
from phi3core.store import timeouts
from phi3core.store.client import mlflow_client
from tests.support.fakes import register
from tests.support.proxy import proxy


@pytest.fixture
def remote(http_server: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that have the server as their store; the home keeps no artifacts."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", http_server)
    return load_settings()


def test_versions_are_numbers_and_carry_their_aliases_and_metrics(remote: Settings) -> None:
    for speed in range(1, 4):
        register(remote, "listed", metrics={"speed": float(speed)})
    set_alias(remote, "listed/2", "champion")

    listed = reader.list_versions(remote, "listed")

    assert [(version.version, version.aliases, version.metrics["speed"]) for version in listed] == [
        (3, (), 3.0),
        (2, ("champion",), 2.0),
        (1, (), 1.0),
    ]
    assert reader.get_version(remote, "listed@champion") == listed[1]
    (model,) = (model for model in reader.list_models(remote) if model.name == "listed")
    assert (model.newest, model.aliases) == (3, {"champion": 2})


def test_a_promotion_leaves_exactly_one_version_in_production(remote: Settings) -> None:
    for _ in range(3):
        register(remote, "promoted")
    promote(remote, "promoted/1", "Production")
    mlflow_client(remote).transition_model_version_stage("promoted", "3", "Production")

    done = promote(remote, "promoted/2", "Production", reason="better", person=Person("ada", "admin"))

    assert done.replaced is not None
    assert done.replaced.version == 1
    assert reader.get_version(remote, "promoted/Production").version == 2
    stages = [version.stage for version in reader.list_versions(remote, "promoted")]
    assert stages == ["None", "Production", "Archived"]
    assert mismatches(remote, "promoted") == []
    assert mlflow_client(remote).get_run(done.record).info.status == "FINISHED"


def test_a_promotion_prints_nothing_for_a_command_prints_json_there(
    remote: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    register(remote, "silent")
    promote(remote, "silent/1", "Production")

    assert capfd.readouterr().out == ""


def test_what_is_not_there_is_told_as_with_a_local_store(remote: Settings) -> None:
    register(remote, "there")

    for ref in ("nothing/1", "there/9", "there@champion", "there/Production"):
        with pytest.raises(NotFound):
            reader.get_version(remote, ref)
    with pytest.raises(BadInput):
        promote(remote, "there/1", "Live")
    with pytest.raises(NotFound):
        delete_alias(remote, "there", "champion")


@pytest.mark.parametrize("name", ["it's", "a b", "a@b", "Φ"])
def test_odd_names_survive_the_wire(remote: Settings, name: str) -> None:
    number = register(remote, name)

    assert reader.list_versions(remote, name)[0].ref == f"{name}/{number}"
    assert set_alias(remote, f"{name}/{number}", "champion").aliases == ("champion",)


def test_a_build_keeps_its_files_on_the_server_and_they_come_back(remote: Settings, tiny_onnx: Path) -> None:
    run_id = jobs.start(remote, BuildSpec("onnx", str(tiny_onnx), "tiny"))
    job = list(jobs.follow(remote, run_id))[-1]
    assert (job.status, job.ref) == ("FINISHED", "tiny/1"), job.reason
    version = reader.get_version(remote, "tiny/1")

    assert not (remote.home / "artifacts").exists()
    assert artifacts.local_folder(remote, version) is None
    folder = artifacts.download(remote, version)
    assert folder.is_relative_to(remote.cache)
    assert open_artifact(folder).context_length == 128
    assert artifacts.download(remote, version) == folder


def test_a_build_that_fails_leaves_no_logged_model_on_the_server(remote: Settings, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    run_id = jobs.start(remote, BuildSpec("onnx", str(tmp_path / "notes"), "never"))

    job = list(jobs.follow(remote, run_id))[-1]

    assert (job.status, job.version) == ("FAILED", None)
    assert "never" not in [model.name for model in reader.list_models(remote)]


def test_while_files_take_minutes_a_silent_server_is_told_as_soon_as_ever(
    http_server: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with proxy(http_server) as front:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", front.url)
        slow = load_settings()
        store = mlflow_client(slow)
        run = store.create_run("0").info
        store.log_text(run.run_id, "words", "file.txt")
        front.delay = 2.5
        asked = time.monotonic()
        with timeouts.allow_transfer_time():
            with pytest.raises(StoreDown, match="not a word within 1 s"):
                reader.list_models(slow)
            assert time.monotonic() - asked < 2.4
            found = mlflow.artifacts.download_artifacts(f"{run.artifact_uri}/file.txt", dst_path=str(tmp_path))
    assert Path(found).read_text() == "words"
