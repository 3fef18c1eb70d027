"""Somebody's code runs once an admin has trusted these very files, and no more when that was taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core.access.roles import Person
from phi3core.engine.loader import needs_code, open_artifact
from phi3core.errors import Conflict, Forbidden, StoreError
from phi3core.promotion import code_trust
from phi3core.promotion.record import search, writer
from phi3core.registry import filelist
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support import children
from tests.support.clock import ManualClock
from tests.support.fake_child import Children

ADMIN, RELEASER = Person("ada", "admin"), Person("bob", "releaser")
CODE = "flavors: {python_function: {loader_module: mlflow.pyfunc.loaders.code_model}}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a model from code."""
    made = children.make(tmp_path / "agent")
    (made / "MLmodel").write_text(CODE)
    return made


@pytest.fixture
def version(settings: Settings, folder: Path) -> Version:
    return children.register(settings, folder)


def test_code_runs_only_while_an_admin_trusts_these_very_files(
    settings: Settings, version: Version, folder: Path
) -> None:
    assert not code_trust.is_trusted(settings, version, folder)
    code_trust.trust(settings, version.ref, "I read it.", ADMIN)
    assert code_trust.is_trusted(settings, version, folder)

    (folder / "agent.py").write_text("import os")
    assert not code_trust.is_trusted(settings, version, folder), "these are other files"
    (folder / "agent.py").unlink()
    assert code_trust.is_trusted(settings, version, folder)

    code_trust.distrust(settings, version.ref, "", ADMIN)
    assert not code_trust.is_trusted(settings, version, folder)
    code_trust.trust(settings, version.ref, "", ADMIN)
    assert code_trust.is_trusted(settings, version, folder)


def test_what_runs_no_code_of_its_own_is_not_to_be_trusted(settings: Settings, version: Version, folder: Path) -> None:
    (folder / "MLmodel").write_text(f"{CODE}\nmetadata: {{phi3: {{wrapper: onnx}}}}")
    with pytest.raises(Conflict, match="runs no code of its own"):
        code_trust.trust(settings, version.ref, "", ADMIN)
    assert search.of_model(settings, version.name) == []


def test_trust_ends_for_all_files_that_were_trusted_whatever_they_are_now(
    settings: Settings, version: Version, folder: Path
) -> None:
    code_trust.trust(settings, version.ref, "", ADMIN)
    (folder / "agent.py").write_text("import os")
    code_trust.trust(settings, version.ref, "", ADMIN)
    aside = folder.rename(folder.with_name("aside"))

    code_trust.distrust(settings, version.ref, "", ADMIN)

    aside.rename(folder)
    assert not code_trust.is_trusted(settings, version, folder)
    (folder / "agent.py").unlink()
    assert not code_trust.is_trusted(settings, version, folder)
    with pytest.raises(Conflict, match="there is nothing to take back"):
        code_trust.distrust(settings, version.ref, "", ADMIN)


def test_of_trust_and_its_end_in_the_same_millisecond_the_end_counts(
    settings: Settings, version: Version, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "now_ms", lambda: 1_800_000_000_000)
    code_trust.trust(settings, version.ref, "", ADMIN)
    assert code_trust.is_trusted(settings, version, folder)

    code_trust.distrust(settings, version.ref, "", ADMIN)

    assert not code_trust.is_trusted(settings, version, folder)


def test_files_that_can_not_be_read_are_told_as_such(
    settings: Settings, version: Version, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error", "weights")

    monkeypatch.setattr(filelist, "list_files", fails)

    with pytest.raises(StoreError, match=r"The files of agent/1 can't be read: .*Input/output error"):
        code_trust.is_trusted(settings, version, folder)


def test_only_an_admin_trusts_and_both_are_records(settings: Settings, version: Version, folder: Path) -> None:
    for act in (code_trust.trust, code_trust.distrust):
        with pytest.raises(Forbidden, match="needs the role admin, and bob is a releaser"):
            act(settings, version.ref, "", RELEASER)
    with pytest.raises(Conflict, match="is not trusted: there is nothing to take back"):
        code_trust.distrust(settings, version.ref, "", ADMIN)
    code_trust.trust(settings, version.ref, "I read it.", ADMIN)
    code_trust.distrust(settings, version.ref, "", ADMIN)

    records = search.of_model(settings, "agent")
    assert [(r.action, r.version, r.user, r.intact) for r in records] == [
        ("distrust", 1, "ada", True),
        ("trust", 1, "ada", True),
    ]
    assert search.verify(settings, "agent") == []


def test_trust_in_one_version_is_none_in_another_with_the_same_files(
    settings: Settings, version: Version, folder: Path
) -> None:
    code_trust.trust(settings, version.ref, "", ADMIN)

    assert not code_trust.is_trusted(settings, children.register(settings, folder), folder)


def test_a_record_that_was_edited_trusts_nothing(settings: Settings, version: Version, folder: Path) -> None:
    from phi3core import tags
    from phi3core.store.client import mlflow_client

    code_trust.trust(settings, version.ref, "", ADMIN)
    (record,) = search.of_model(settings, "agent")
    mlflow_client(settings).set_tag(record.id, tags.DIGEST, "0" * 64)
    (folder / "agent.py").write_text("import os")

    assert not code_trust.is_trusted(settings, version, folder)


# ---------------------------------------------------------------- where it counts


def test_the_pool_opens_no_code_that_is_not_trusted_and_says_what_to_do(settings: Settings, version: Version) -> None:
    started = Children()
    pool = Pool(settings, start_child=started.start, watch=False, approve=code_trust.is_trusted)  # type: ignore[arg-type]
    with pytest.raises(Forbidden, match=r"agent/1 is not opened\. .* An admin can .* by “phi3 trust agent/1”"):
        pool.open(version)
    assert started == []

    code_trust.trust(settings, version.ref, "", ADMIN)
    pool.open(version)

    assert started[0].order["code"] is True


def test_a_running_server_is_stopped_when_its_trust_was_taken_back(settings: Settings, version: Version) -> None:
    started, clock = Children(), ManualClock()
    pool = Pool(settings, start_child=started.start, watch=False, clock=clock, approve=code_trust.is_trusted)  # type: ignore[arg-type]
    code_trust.trust(settings, version.ref, "", ADMIN)
    server = pool.open(version)
    code_trust.distrust(settings, version.ref, "", ADMIN)
    assert pool.open(version) is server

    clock.advance(31)
    with pytest.raises(Forbidden, match="agent/1 was stopped"):
        pool.open(version)

    assert not server.alive()
    with pytest.raises(Forbidden, match="agent/1 is not opened"):
        pool.open(version)


def test_what_our_wrappers_made_needs_no_trust_whatever_its_tags_say(settings: Settings, tmp_path: Path) -> None:
    started = Children()
    pool = Pool(settings, start_child=started.start, watch=False)  # type: ignore[arg-type]

    pool.open(children.register(settings, children.make(tmp_path / "ours")))

    assert started[0].order["code"] is False


@pytest.mark.parametrize(
    "config",
    [
        '{"session_options": {"custom_ops_library": "x"}}',
        '{"custom\\u005fops_library": "x"}',
        '{"provider": {"path": "libx.so.1"}}',
        "{ broken",
    ],
)
def test_a_library_that_an_onnx_model_names_is_code(tmp_path: Path, config: str) -> None:
    folder = children.make(tmp_path / "ours")
    assert not needs_code(folder)
    (folder / "deeper").mkdir()
    (folder / "deeper" / "genai_config.json").write_text(config)

    assert needs_code(folder)
    with pytest.raises(Forbidden):
        open_artifact(folder)
