"""Copying a version: within a store, and to another tracking server that really runs."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from phi3core import hashing, tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, Phi3Error, StoreDown
from phi3core.promotion import copy, copy_sender
from phi3core.promotion.copy import copy_version
from phi3core.promotion.record import search
from phi3core.promotion.record.model import Record
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.support import fakes, logged
from tests.support.conditions import QUIET
from tests.support.stores import free_port

ADA = Person("ada@example.org", "releaser")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return logged.save(tmp_path_factory.mktemp("models") / "echo")


@pytest.fixture
def ref(settings: Settings, saved: Path) -> str:
    made = logged.register(settings, "phi3", saved, {"team": "search"}, {"speed": 12.5})
    version = reader.get_version(settings, made)
    mlflow_client(settings).update_model_version("phi3", str(version.version), "It echoes.")
    mlflow_client(settings).log_param(version.run_id, "rate", "0.1")
    return made


@pytest.fixture(autouse=True)
def _sent_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a process of its own, which takes seconds to start; test_copy_credentials.py has that."""
    monkeypatch.setattr(copy, "send_apart", lambda target, parcel, report: copy_sender.send(target.uri, parcel, report))


def allow(settings: Settings, uri: str) -> str:
    """Name a server in the secrets file, and return its name."""
    settings.secrets.write_text(f'[copy.there]\nuri = "{uri}"\n')
    return "there"


def last_record(settings: Settings) -> Record:
    return search.of_model(settings, "phi3")[0]


# ---------------------------------------------------------------- in the same store


def test_a_copy_in_the_store_shares_the_files_and_tells_where_it_came_from(settings: Settings, ref: str) -> None:
    mlflow_client(settings).set_registered_model_alias("phi3", "champion", "1")
    copied = copy_version(settings, ref, "phi3-edge", ADA, reason="For the small devices.")
    assert (copied.ref, copied.uri) == ("phi3-edge/1", "")
    original, made = reader.get_version(settings, ref), reader.get_version(settings, copied.ref)
    assert artifacts.artifact_uri(settings, made) == artifacts.artifact_uri(settings, original)
    assert (made.description, made.metrics, made.aliases, made.stage) == ("It echoes.", {"speed": 12.5}, (), "None")
    assert original.tags.items() <= made.tags.items()
    origin = {key: made.tags[key] for key in (tags.ORIGIN_VERSION, tags.ORIGIN_RUN, tags.ORIGIN_USER)}
    assert origin == {
        tags.ORIGIN_VERSION: "phi3/1", tags.ORIGIN_RUN: original.run_id, tags.ORIGIN_USER: "ada@example.org"
    }  # fmt: skip


def test_a_copy_is_recorded_with_who_why_and_what_came_of_it(settings: Settings, ref: str) -> None:
    copy_version(settings, ref, "phi3-edge", ADA, reason="For the small devices.")
    record = last_record(settings)
    assert (record.action, record.version, record.old, record.new) == ("copy", 1, "phi3/1", "phi3-edge")
    assert (record.user, record.reason, record.status) == ("ada@example.org", "For the small devices.", "done")
    assert record.outcome == "The copy is phi3-edge/1."
    assert record.intact


def test_a_copy_of_a_copy_tells_the_version_it_was_made_from(settings: Settings, ref: str) -> None:
    first = copy_version(settings, ref, "second", ADA)
    third = copy_version(settings, first.ref, "third", ADA)
    assert reader.get_version(settings, third.ref).tags[tags.ORIGIN_VERSION] == "second/1"


# ---------------------------------------------------------------- to another store


@pytest.mark.parametrize("kind", ["http", "postgres"])
def test_a_copy_on_another_server_has_everything_and_answers(
    settings: Settings, ref: str, saved: Path, kind: str, fresh: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = str(request.getfixturevalue(f"{kind}_server"))
    told: list[tuple[float, str]] = []
    copied = copy_version(
        settings,
        ref,
        fresh,
        ADA,
        allow(settings, server),
        "Goes live there.",
        lambda share, text: told.append((share, text)),
    )
    assert (copied.ref, copied.uri) == (f"{fresh}/1", server)
    there = replace(settings, tracking_uri=server, cache=tmp_path / "cache")
    made = reader.get_version(there, copied.ref)
    assert (made.description, made.metrics, made.tags["team"]) == ("It echoes.", {"speed": 12.5}, "search")
    assert made.tags[tags.ORIGIN_VERSION] == "phi3/1"
    assert made.tags[tags.ORIGIN_STORE] == settings.tracking_uri
    assert reader.get_details(there, made).parameters == {"rate": "0.1"}
    fetched = artifacts.download(there, made)
    (fetched / "registered_model_meta").unlink(missing_ok=True)
    assert hashing.hash_folder(fetched) == made.tags[tags.DIGEST] == hashing.hash_folder(saved)

    import mlflow

    assert mlflow.pyfunc.load_model(f"models:/{copied.ref}").predict([{"prompt": "hello"}]) == ["hello 5"]
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert any("Sending tokenizer/chat_template.jinja" in text for _, text in told)
    assert last_record(settings).outcome == f"The copy is {fresh}/1."
    assert last_record(settings).new == f"{fresh} at {server}"


def test_a_copy_to_another_database_has_its_own_files(
    settings: Settings, ref: str, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where a database keeps its artifacts unless it is told otherwise
    shutil.copy(empty_store, tmp_path / "other.db")
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    run_id = reader.get_version(settings, ref).run_id
    for name, value in QUIET.as_tag(3).items():
        mlflow_client(settings).set_tag(run_id, name, value)
    copied = copy_version(settings, ref, "phi3", ADA, allow(settings, uri))  # the same name is free there
    there = replace(settings, tracking_uri=uri)
    made = reader.get_version(there, copied.ref)
    folder = artifacts.local_folder(there, made)
    assert folder is not None
    assert folder != artifacts.local_folder(settings, reader.get_version(settings, ref))
    assert hashing.hash_folder(folder) == made.tags[tags.DIGEST]
    assert made.measured == QUIET, "it tells where its figures come from, too"


def test_this_process_keeps_its_own_store_after_a_copy_to_another(
    settings: Settings, ref: str, http_server: str, fresh: str
) -> None:
    import mlflow

    copy_version(settings, ref, fresh, ADA, allow(settings, http_server))
    assert mlflow.get_tracking_uri() == mlflow.get_registry_uri() == settings.tracking_uri
    assert [model.name for model in reader.list_models(settings)] == ["phi3"]


# ---------------------------------------------------------------- what fails registers nothing


def test_a_copy_that_breaks_off_registers_nothing_and_its_record_says_so(
    settings: Settings, ref: str, http_server: str, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network goes away after the first file."""
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    sent: list[str] = []
    real = MlflowArtifactsRepository.log_artifact

    def breaking(self, local_file, artifact_path=None):  # type: ignore[no-untyped-def]
        if sent:
            raise ConnectionError("the line is cut")
        sent.append(local_file)
        return real(self, local_file, artifact_path)

    monkeypatch.setattr(MlflowArtifactsRepository, "log_artifact", breaking)
    with pytest.raises(StoreDown, match="the line is cut"):
        copy_version(settings, ref, fresh, ADA, allow(settings, http_server))
    assert sent
    there = replace(settings, tracking_uri=http_server)
    with pytest.raises(NotFound):
        reader.list_versions(there, fresh)
    record = last_record(settings)
    assert (record.action, record.status) == ("copy", "failed")
    assert "the line is cut" in record.outcome
    home = mlflow_client(there).get_experiment_by_name(tags.COPIES)
    left = mlflow_client(there).search_runs([home.experiment_id], f"tags.`mlflow.runName` = 'copy of {ref}'")
    assert left[0].info.status == "FAILED"
    assert not mlflow_client(there).search_logged_models(
        [home.experiment_id], filter_string=f"source_run_id = '{left[0].info.run_id}'"
    )


def test_a_model_made_for_a_copy_goes_again_when_registering_fails(
    settings: Settings, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("no more versions today")

    monkeypatch.setattr(MlflowClient, "create_model_version", refuse)
    with pytest.raises(Phi3Error, match="no more versions today"):
        copy_version(settings, ref, "phi3-edge", ADA)
    assert [model.name for model in reader.list_models(settings)] == ["phi3"]


def test_files_that_are_not_what_was_registered_are_not_sent(
    settings: Settings, saved: Path, tmp_path: Path, http_server: str, fresh: str
) -> None:
    folder = shutil.copytree(saved, tmp_path / "changed")
    ref = logged.register(settings, "phi3", folder)
    (folder / "requirements.txt").write_text("mlflow\nsomething-else\n")
    with pytest.raises(Conflict, match="not what was registered"):
        copy_version(settings, ref, fresh, ADA, allow(settings, http_server))
    with pytest.raises(NotFound):
        reader.list_versions(replace(settings, tracking_uri=http_server), fresh)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("role", ["none", "viewer", "reviewer"])
def test_copying_needs_a_releaser(settings: Settings, ref: str, role: str) -> None:
    with pytest.raises(Forbidden, match="releaser"):
        copy_version(settings, ref, "phi3-edge", Person("eve", role))
    assert [model.name for model in reader.list_models(settings)] == ["phi3"]


@pytest.mark.parametrize(
    ("name", "to", "told"),
    [
        ("phi3", "", "is in phi3 already"),
        ("", "", "Give the registered model a name"),
        ("a/b", "", "Give the registered model a name"),
        ("a@b", "", "Give the registered model a name"),
        ("edge", "http://mlflow.example.org", "is no place that versions may be copied to"),
        ("edge", "sqlite:///{missing}.other", "is no place that versions may be copied to"),
        ("edge", "nobody", "Those are: gone, odd, own"),
        ("edge", "gone", "There is no MLflow store in"),
        ("edge", "own", "That is this store"),
    ],
)
def test_a_copy_that_makes_no_sense_is_refused_before_anything_is_done(
    settings: Settings, ref: str, tmp_path: Path, name: str, to: str, told: str
) -> None:
    before = len(search.of_model(settings, "phi3"))
    missing = tmp_path / "missing.db"
    settings.secrets.write_text(
        f'[copy.gone]\nuri = "sqlite:///{missing}"\n[copy.own]\nuri = "{settings.tracking_uri}"\n'
        '[copy.odd]\nuri = "http://127.0.0.1:1"\n'
    )
    with pytest.raises(BadInput, match=told):
        copy_version(settings, ref, name, ADA, to.format(missing=missing))
    assert not missing.exists()
    assert len(search.of_model(settings, "phi3")) == before
    assert [model.name for model in reader.list_models(settings)] == ["phi3"]


def test_a_server_that_is_not_there_is_told_in_one_sentence_soon(settings: Settings, ref: str) -> None:
    uri, begun = f"http://127.0.0.1:{free_port()}", time.monotonic()
    with pytest.raises(StoreDown, match=uri):
        copy_version(settings, ref, "edge", ADA, allow(settings, uri))
    assert time.monotonic() - begun < 6


def test_a_password_in_the_address_is_kept_nowhere(settings: Settings, ref: str, http_server: str, fresh: str) -> None:
    secret = http_server.replace("http://", "http://ada:sesame@")
    copied = copy_version(settings, ref, fresh, ADA, allow(settings, secret))
    assert "sesame" not in copied.uri
    assert "sesame" not in last_record(settings).new
    made = reader.get_version(replace(settings, tracking_uri=http_server), copied.ref)
    assert "sesame" not in str(made.tags)


def test_a_version_that_is_not_there_is_not_copied(settings: Settings, ref: str) -> None:
    fakes.register(settings, "phi3")
    with pytest.raises(NotFound):
        copy_version(settings, "phi3/9", "edge", ADA)
