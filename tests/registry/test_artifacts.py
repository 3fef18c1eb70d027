"""A version's files: their digests, and that a changed byte is seen without reading gigabytes at each look."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from phi3core import hashing, tags
from phi3core.errors import NotFound, StoreError
from phi3core.registry import artifacts, filelist, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.conftest import Built
from tests.support.fakes import register
from tests.support.judging import folder_of, version_in_store, version_with_files, version_without_files

WEIGHTS = "weights/model.onnx"


@pytest.fixture
def version(settings: Settings, tmp_path: Path) -> Version:
    return version_with_files(settings, tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose content was read, as it goes on."""
    names: list[str] = []
    really = hashing.hash_file

    def noted(path: Path) -> str:
        names.append(path.name)
        return really(path)

    monkeypatch.setattr(hashing, "hash_file", noted)
    return names


# ---------------------------------------------------------------- here


def test_a_link_out_of_a_versions_files_is_not_read(settings: Settings, version: Version, tmp_path: Path) -> None:
    (tmp_path / "secrets.toml").write_text("cookie_secret")
    (folder_of(version) / "notes.md").symlink_to(tmp_path / "secrets.toml")
    (folder_of(version) / "on itself.md").symlink_to("on itself.md")

    for read in (
        lambda: artifacts.read_text(settings, version, "notes.md"),
        lambda: artifacts.compute_digest(settings, version),
    ):
        with pytest.raises(StoreError, match="notes.md is a link out of the model's folder"):
            read()


def test_the_digest_is_of_every_name_and_content(settings: Settings, version: Version) -> None:
    before = artifacts.compute_digest(settings, version)
    weights = folder_of(version) / WEIGHTS

    assert before == hashing.hash_folder(folder_of(version))
    weights.write_bytes(b"Weights")  # as many bytes
    changed = artifacts.compute_digest(settings, version)
    weights.rename(weights.with_name("other.onnx"))
    renamed = artifacts.compute_digest(settings, version)
    (folder_of(version) / "more.txt").write_text("")
    assert len({before, changed, renamed, artifacts.compute_digest(settings, version)}) == 4


def test_files_are_listed_with_sizes_and_with_the_digests_that_are_known(settings: Settings, version: Version) -> None:
    listed = artifacts.list_files(settings, version)
    assert [file.path for file in listed] == ["MLmodel", "python_env.yaml", "requirements.txt", WEIGHTS]
    assert (listed[-1].size, listed[-1].sha256) == (7, "")

    artifacts.compute_digest(settings, version)

    assert artifacts.list_files(settings, version) == artifacts.list_files(settings, version, read=True)
    weights = hashlib.sha256(b"weights").hexdigest()
    assert artifacts.list_files(settings, version)[-1] == filelist.File(WEIGHTS, 7, weights)


def test_a_look_reads_only_what_changed_since_the_last_one(
    settings: Settings, version: Version, read: list[str]
) -> None:
    first = artifacts.read_state(settings, version)
    assert sorted(read) == ["MLmodel", "model.onnx", "python_env.yaml", "requirements.txt"]
    read.clear()

    assert artifacts.read_state(settings, version) == first
    assert artifacts.compute_digest(settings, version) == first.digest
    assert read == []
    (folder_of(version) / "requirements.txt").write_text("mlflow\n")
    assert artifacts.read_state(settings, version).digest != first.digest
    assert read == ["requirements.txt"]


def test_a_byte_changed_at_once_or_behind_set_back_times_is_seen(settings: Settings, version: Version) -> None:
    weights = folder_of(version) / WEIGHTS
    seen = [artifacts.compute_digest(settings, version)]
    for content in (b"weightz", b"weighty"):
        times = weights.stat()
        weights.write_bytes(content)  # at once, of the same size, into the same file
        os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
        seen.append(artifacts.compute_digest(settings, version))
    weights.write_bytes(b"weights")
    seen.append(artifacts.compute_digest(settings, version))

    assert len(set(seen)) == 3
    assert seen[0] == seen[3]


def test_what_is_kept_may_be_lost_or_damaged(settings: Settings, version: Version) -> None:
    digest = artifacts.compute_digest(settings, version)
    (kept,) = (settings.home / "digests").iterdir()
    for text in ("", "[]", "{", '{"MLmodel": 3}', '{"MLmodel": [1, 2, 3]}'):
        kept.write_text(text)
        assert artifacts.compute_digest(settings, version) == digest
    kept.unlink()
    assert artifacts.compute_digest(settings, version) == digest


def test_what_mlflow_writes_beside_a_model_when_it_loads_it_is_no_part_of_it(
    settings: Settings, version: Version
) -> None:
    digest = artifacts.compute_digest(settings, version)
    (folder_of(version) / "registered_model_meta").write_text("model_name: phi3\n")

    assert artifacts.compute_digest(settings, version) == digest
    assert "registered_model_meta" not in [file.path for file in artifacts.list_files(settings, version)]


def test_files_that_are_gone_or_cannot_be_read_are_told(
    settings: Settings, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(hashing, "hash_file", broken)
        with pytest.raises(StoreError, match="files of phi3/1 can't be read"):
            artifacts.compute_digest(settings, version)
    (folder_of(version) / "MLmodel").unlink()
    with pytest.raises(NotFound, match="gone"):
        artifacts.compute_digest(settings, version)


# ---------------------------------------------------------------- what is in them


def test_dependencies_and_the_chat_template_are_read(settings: Settings, version: Version) -> None:
    assert artifacts.read_requirements(settings, version) == ["mlflow==3.17.2", "numpy==2.4.6"]
    assert artifacts.read_python_version(settings, version) == "3.11.7"
    assert artifacts.read_chat_template(settings, version) == ""

    tokenizer = folder_of(version) / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer_config.json").write_text('{"chat_template": "{{ old }}"}')
    assert artifacts.read_chat_template(settings, version) == "{{ old }}"
    (tokenizer / "chat_template.jinja").write_text("{{ messages }}")
    assert artifacts.read_chat_template(settings, version) == "{{ messages }}"
    with pytest.raises(NotFound, match="no file gone"):
        artifacts.read_text(settings, version, "gone")


# ---------------------------------------------------------------- elsewhere


def test_files_on_a_server_are_fetched_for_the_digest_and_only_listed_for_a_look(
    store: Settings, fresh: str, tmp_path: Path, read: list[str]
) -> None:
    version, write = version_in_store(store, tmp_path, fresh)
    here = artifacts.read_state(store, version)
    digest = artifacts.compute_digest(store, version)
    assert digest == hashing.hash_folder(next(tmp_path.glob("logged-*")))
    read.clear()

    look = artifacts.read_state(store, version)
    assert (look.digest, look.listing, look.remote, read) == (digest, here.listing, here.remote, [])
    assert ("Only the names and sizes of 4 files" in look.summary) == look.remote
    assert artifacts.read_python_version(store, version) == "3.11.7"

    write(WEIGHTS, b"Weights")  # as many bytes: a listing can't tell
    assert (artifacts.read_state(store, version).digest == digest) == look.remote
    assert artifacts.compute_digest(store, version) != digest
    write(WEIGHTS, b"more weights")
    changed = artifacts.read_state(store, version)
    assert changed.listing != look.listing
    assert changed.digest != digest
    assert not list(store.tmp.iterdir())  # nothing fetched is left behind


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_a_server_that_has_no_such_files_is_told(store: Settings, fresh: str) -> None:
    version = version_without_files(store, fresh)

    with pytest.raises(NotFound, match="gone"):
        artifacts.read_state(store, version)


# ---------------------------------------------------------------- as built


@pytest.mark.model
def test_the_digest_of_a_build_is_what_its_tag_says_before_and_after_it_was_loaded(built: Built) -> None:
    import mlflow

    version = reader.get_version(built.settings, "phi3-embedded/2")
    digest = artifacts.compute_digest(built.settings, version)
    assert digest == version.tags[tags.DIGEST]

    mlflow.pyfunc.load_model(built.onnx)

    assert artifacts.compute_digest(built.settings, version) == digest
    listed = artifacts.list_files(built.settings, version, read=True)
    assert artifacts.matches_build(version, listed)
    assert artifacts.matches_build(version, listed[1:]) is False


# ---------------------------------------------------------------- where they are


def test_a_version_whose_files_are_on_this_machine_is_used_in_place(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "logged model").mkdir()
    (tmp_path / "logged model" / "MLmodel").write_text("flavors: {}")
    register(settings, source=(tmp_path / "logged model").as_uri())

    version = reader.get_version(settings, "phi3/1")

    assert artifacts.local_folder(settings, version) == tmp_path / "logged model"
    assert artifacts.download(settings, version) == tmp_path / "logged model"


def test_a_version_whose_files_are_gone_says_so(settings: Settings, tmp_path: Path) -> None:
    register(settings, source=(tmp_path / "gone").as_uri())

    with pytest.raises(NotFound, match="The files of phi3/1 are gone"):
        artifacts.local_folder(settings, reader.get_version(settings, "phi3/1"))


def test_a_version_whose_files_are_elsewhere_has_no_local_folder(settings: Settings) -> None:
    register(settings, source="s3://bucket/model")

    assert artifacts.local_folder(settings, reader.get_version(settings, "phi3/1")) is None
