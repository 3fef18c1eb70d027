"""Approvals of files that are on a server or in an object store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.errors import Conflict, PolicyUnmet
from phi3core.promotion import promote as promote_module
from phi3core.promotion.aliases import Snapshot
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.checks import checklist
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search
from phi3core.promotion.record.history import History
from phi3core.registry import artifacts, filelist, reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.policy.helpers import ROB, WEIGHTS
from tests.support import fakes
from tests.support.judging import ADA, BOB, EVE, ROOT, logged, version_in_store


def test_files_on_a_server_are_compared_by_name_and_size_at_a_look_and_byte_by_byte_where_it_counts(
    store: Settings, fresh: str, tmp_path: Path
) -> None:
    version, write = version_in_store(store, tmp_path, fresh)
    policy.write(store, fresh, "Production", Policy(approvals=1), ROOT)
    made = requests.ask(store, version.ref, "Production", "Fast.", ADA)
    assert requests.decide(store, made.id, "approve", "", BOB).status == "approved"
    assert checklist(store, version, "Production", fetch=False)[0].met
    here = artifacts.local_folder(store, version) is not None

    write(WEIGHTS, b"weightS")  # as many bytes

    look = requests.get(store, made.id)
    assert (look.status, "Only the names and sizes" in look.compared) == (
        ("void", False) if here else ("approved", True)
    )
    assert checklist(store, version, "Production", fetch=False)[0].met is not here
    (check,) = checklist(store, version, "Production")
    assert not check.met
    with pytest.raises(Conflict, match="void"):
        requests.decide(store, made.id, "approve", "", EVE)
    with pytest.raises(PolicyUnmet, match="approvals"):
        promote(store, version.ref, "Production", "", ROB)

    write(WEIGHTS, b"longer weights")
    assert requests.get(store, made.id).status == "void"
    again = requests.ask(store, version.ref, "Production", "Faster.", ADA)
    requests.decide(store, again.id, "approve", "", BOB)
    assert promote(store, version.ref, "Production", "", ROB).version.aliases == ("production",)
    assert [r.status for r in requests.of_model(store, fresh)] == ["promoted", "void"]


def test_a_promotion_that_carries_out_a_request_compares_every_byte_though_no_policy_asks_for_it(
    store: Settings, fresh: str, tmp_path: Path
) -> None:
    version, write = version_in_store(store, tmp_path, fresh)
    made = requests.ask(store, version.ref, "Production", "Fast.", ADA)
    requests.decide(store, made.id, "approve", "", BOB)
    write(WEIGHTS, b"weightS")  # as many bytes

    with pytest.raises(Conflict, match="is void. The files of .* were changed"):
        promote(store, version.ref, "Production", "", ROB, request=made.id)

    assert reader.get_version(store, version.ref).aliases == ()
    done = promote(store, version.ref, "Production", "Nobody asked for these.", ROB)
    assert search.get(store, done.record).request == ""
    assert requests.get(store, made.id).status == "void"


def test_a_promotion_says_where_its_digest_comes_from_where_it_did_not_read_the_files(
    store: Settings, fresh: str, tmp_path: Path
) -> None:
    version, _ = version_in_store(store, tmp_path, fresh)
    mlflow_client(store).set_model_version_tag(fresh, "1", tags.DIGEST, "d" * 64)
    here = artifacts.local_folder(store, version) is not None

    record = search.get(store, promote(store, version.ref, "Production", "", ROB).record)

    if here:
        assert (record.digest, record.checks) == (artifacts.compute_digest(store, version), ())
    else:
        (line,) = record.checks
        assert (record.digest, line["name"]) == ("d" * 64, "files")
        assert "as registered, not checked" in line["says"]
    made = requests.ask(store, version.ref, "Staging", "Fast.", ADA)
    record = search.get(store, promote(store, version.ref, "Staging", "", ROB, request=made.id).record)
    assert (record.digest, record.checks) == (made.digest, ())


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_files_on_a_server_are_fetched_once_for_a_promotion_and_never_while_others_wait(
    store: Settings, fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, write = version_in_store(store, tmp_path, fresh)
    mlflow_client(store).set_model_version_tag(fresh, "1", tags.USER, BOB.name)
    policy.write(store, fresh, "Production", Policy(approvals=1, other_approver=True), ROOT)
    made = requests.ask(store, version.ref, "Production", "Fast.", ADA)
    requests.decide(store, made.id, "approve", "", EVE)
    waiting, fetched = False, []
    really, others = filelist._copied, promote_module._after_others

    def noted(settings: Settings, repository: object, name: str) -> object:
        fetched.append((name, waiting))
        return really(settings, repository, name)  # type: ignore[arg-type]

    def meanwhile(settings: Settings, name: str, before: History) -> Snapshot:
        nonlocal waiting
        waiting = True
        snapshot = others(settings, name, before)
        for change in changes:
            change()
        return snapshot

    changes: list[Callable[[], object]] = [lambda: write(WEIGHTS, b"longer weights")]
    monkeypatch.setattr(filelist, "_copied", noted)
    monkeypatch.setattr(promote_module, "_after_others", meanwhile)
    with pytest.raises(Conflict, match="files of .* were changed at this moment"):
        promote(store, version.ref, "Production", "", ROB, request=made.id)
    assert reader.get_version(store, version.ref).aliases == ()

    write(WEIGHTS, b"weights")
    fetched.clear()
    changes.clear()
    waiting = False
    assert promote(store, version.ref, "Production", "", ROB, request=made.id).version.aliases == ("production",)
    assert sorted(fetched) == [(name, False) for name in ("MLmodel", "python_env.yaml", "requirements.txt", WEIGHTS)]


def test_an_object_store_tells_within_the_lock_of_a_change_of_as_many_bytes(
    settings: Settings, tmp_path: Path, s3_server: dict[str, str], fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    source = f"s3://models/{fresh}"
    repository = get_artifact_repository(source)
    repository.log_artifacts(str(logged(tmp_path)))
    fakes.register(settings, "phi3", source)
    made = requests.ask(settings, "phi3/1", "Production", "Fast.", ADA)
    others = promote_module._after_others

    def meanwhile(settings: Settings, name: str, before: History) -> Snapshot:
        snapshot = others(settings, name, before)
        (tmp_path / "model.onnx").write_bytes(b"weightS")
        repository.log_artifact(str(tmp_path / "model.onnx"), "weights")
        return snapshot

    with monkeypatch.context() as patch:
        patch.setattr(promote_module, "_after_others", meanwhile)
        with pytest.raises(Conflict, match="files of phi3/1 were changed at this moment"):
            promote(settings, "phi3/1", "Production", "", ROB, request=made.id)
    (tmp_path / "model.onnx").write_bytes(b"weights")
    repository.log_artifact(str(tmp_path / "model.onnx"), "weights")
    assert promote(settings, "phi3/1", "Production", "", ROB, request=made.id).stage == "Production"


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_what_calls_for_the_files_only_while_others_wait_is_tried_again(
    store: Settings, fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, _ = version_in_store(store, tmp_path, fresh)
    others = promote_module._after_others

    def meanwhile(settings: Settings, name: str, before: History) -> Snapshot:
        if not requests.of_model(settings, name):
            requests.ask(store, version.ref, "Production", "Fast.", ADA)
        return others(settings, name, before)

    monkeypatch.setattr(promote_module, "_after_others", meanwhile)
    with pytest.raises(Conflict, match="was changed at this moment. Look, and try again"):
        promote(store, version.ref, "Production", "", ROB)
    assert promote(store, version.ref, "Production", "", ROB).version.aliases == ("production",)
    assert requests.of_model(store, fresh)[0].status == "promoted"


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_another_machine_sees_that_files_on_a_server_changed_by_what_the_request_recorded(
    store: Settings, fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, write = version_in_store(store, tmp_path, fresh)
    made = requests.ask(store, version.ref, "Production", "Fast.", ADA)
    for kept in (store.home / "digests").iterdir():
        kept.unlink()  # another machine has taken no digest yet
    assert requests.get(store, made.id).status == "open"

    write(WEIGHTS, b"longer weights")
    for kept in (store.home / "digests").iterdir():
        kept.unlink()

    assert requests.get(store, made.id).status == "void"
