"""A promotion that is asked for, decided on and carried out, each step a record and bound to the files."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from mlflow.entities import Run

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, PolicyUnmet, StoreError
from phi3core.promotion import promote as promote_module
from phi3core.promotion.policy import pending, policy, requests
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote, rollback
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import seal, search, writer
from phi3core.promotion.record.model import Record, of_run
from phi3core.registry import artifacts, filelist, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.support import fakes
from tests.support.judging import ADA, BOB, EVE, ROOT, folder_of, logged, version_in_store, version_with_files

ROB = Person("rob@example.org", "releaser")
WEIGHTS = "weights/model.onnx"


@pytest.fixture
def version(settings: Settings, tmp_path: Path) -> Version:
    return version_with_files(settings, tmp_path)


@pytest.fixture
def asked(settings: Settings, version: Version) -> str:
    return requests.ask(settings, version.ref, "Production", "It is faster.", ADA).id


# ---------------------------------------------------------------- the way of a request


def test_a_rejection_that_comes_while_a_promotion_waits_for_its_turn_still_counts(
    settings: Settings, version: Version, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests.decide(settings, asked, "approve", "", BOB)
    others = promote_module._after_others

    def meanwhile(settings: Settings, name: str) -> None:
        others(settings, name)
        requests.decide(settings, asked, "reject", "It swears.", EVE)

    monkeypatch.setattr(promote_module, "_after_others", meanwhile)
    with pytest.raises(Conflict, match="rejected"):
        promote(settings, version.ref, "Production", "Friday", ROB, request=asked)
    assert reader.get_version(settings, version.ref).stage == "None"
    assert search.of_model(settings, "phi3")[0].action == "reject"


def test_a_request_is_asked_approved_and_promoted_and_every_step_is_a_record(
    settings: Settings, version: Version
) -> None:
    request = requests.ask(settings, version.ref, "production", "It is faster.", ADA)
    assert (request.ref, request.stage, request.by, request.reason) == (
        version.ref,
        "Production",
        ADA.name,
        "It is faster.",
    )
    assert (request.status, request.decisions) == ("open", ())

    approved = requests.decide(settings, request.id, "approve", "Looks right.", BOB)
    assert approved.status == "approved"
    (decision,) = approved.decisions
    assert (decision.by, decision.verdict, decision.comment, decision.valid) == (
        BOB.name,
        "approve",
        "Looks right.",
        True,
    )
    assert decision.digest == request.digest
    assert [r.id for r in requests.waiting(settings)] == [request.id]

    promote(settings, version.ref, "Production", "Friday", ROB, request=request.id)

    assert requests.get(settings, request.id).status == "promoted"
    assert requests.waiting(settings) == []
    listed = search.of_model(settings, "phi3")
    assert [(r.action, r.user, r.status) for r in listed] == [
        ("promote", ROB.name, "done"), ("approve", BOB.name, "done"), ("request", ADA.name, "done"),
    ]  # fmt: skip
    assert {r.request for r in listed[:2]} == {request.id}
    assert search.verify(settings, "phi3") == []


def test_a_request_that_was_rejected_says_why_and_can_be_asked_again(settings: Settings, asked: str) -> None:
    with pytest.raises(BadInput, match="Say why you reject it"):
        requests.decide(settings, asked, "reject", " ", BOB)

    rejected = requests.decide(settings, asked, "reject", "It stutters.", BOB)

    assert (rejected.status, rejected.rejections[0].comment) == ("rejected", "It stutters.")
    assert requests.waiting(settings) == []
    again = requests.ask(settings, "phi3/1", "Production", "It no longer stutters.", ADA)
    assert [r.status for r in requests.of_model(settings, "phi3")] == ["open", "rejected"]
    assert again.id != asked


def test_ones_latest_decision_counts_and_one_rejection_outweighs_any_approval(settings: Settings, asked: str) -> None:
    assert requests.decide(settings, asked, "approve", "", BOB).status == "approved"
    assert requests.decide(settings, asked, "reject", "Wait.", EVE).status == "rejected"

    request = requests.decide(settings, asked, "approve", "Fine now.", Person("EVE@example.org", "reviewer"))

    assert request.status == "approved"
    assert [(d.verdict, d.valid) for d in request.decisions] == [
        ("approve", True),
        ("reject", False),
        ("approve", True),
    ]


def test_a_request_is_approved_once_as_many_did_as_the_policy_wants(settings: Settings, asked: str) -> None:
    policy.write(settings, "phi3", "Production", Policy(approvals=2), ROOT)

    assert requests.decide(settings, asked, "approve", "", BOB).status == "open"
    assert requests.decide(settings, asked, "approve", "", BOB).status == "open"  # twice the same person
    assert requests.decide(settings, asked, "approve", "", EVE).status == "approved"


def test_who_asked_can_withdraw_and_an_admin_can(settings: Settings, asked: str) -> None:
    with pytest.raises(Forbidden, match="Withdrawing what ada@example.org asked for needs the role admin"):
        requests.withdraw(settings, asked, "", BOB)

    withdrawn = requests.withdraw(settings, asked, "Not yet.", Person("Ada@example.org", "reviewer"))

    assert (withdrawn.status, withdrawn.why.endswith("Not yet.")) == ("withdrawn", True)
    for act in (
        lambda: requests.withdraw(settings, asked, "", ADA),
        lambda: requests.decide(settings, asked, "approve", "", BOB),
    ):
        with pytest.raises(Conflict, match="withdrawn"):
            act()
    other = requests.ask(settings, "phi3/1", "Production", "Now.", ADA)
    assert requests.withdraw(settings, other.id, "", ROOT).status == "withdrawn"


def test_whether_one_may_approve_what_one_asked_for_is_the_policys_to_say(settings: Settings, asked: str) -> None:
    policy.write(settings, "phi3", "Production", Policy(other_approver=True), ROOT)
    with pytest.raises(Forbidden, match="asked for it yourself"):
        requests.decide(settings, asked, "approve", "", ADA)
    assert requests.decide(settings, asked, "reject", "On second thought.", ADA).status == "rejected"

    policy.write(settings, "phi3", "Production", Policy(), ROOT)
    assert requests.decide(settings, asked, "approve", "", ADA).status == "approved"


# ---------------------------------------------------------------- what is refused


def test_a_viewer_neither_asks_nor_decides_nor_withdraws(settings: Settings, asked: str) -> None:
    viewer = Person(ADA.name, "viewer")
    for act in (
        lambda: requests.ask(settings, "phi3/1", "Staging", "Please.", viewer),
        lambda: requests.decide(settings, asked, "approve", "", viewer),
        lambda: requests.withdraw(settings, asked, "", viewer),
    ):
        with pytest.raises(Forbidden, match="needs the role reviewer"):
            act()
    assert len(search.of_model(settings, "phi3")) == 1


def test_what_makes_no_sense_is_refused_with_what_to_do(settings: Settings, version: Version) -> None:
    def refused(error: type[Exception], words: str, act: Callable[[], object]) -> None:
        with pytest.raises(error, match=words):
            act()

    refused(BadInput, "Say why", lambda: requests.ask(settings, version.ref, "Production", " ", ADA))
    refused(BadInput, "Production or Staging", lambda: requests.ask(settings, version.ref, "Archived", "Old.", ADA))
    refused(NotFound, "no version 9", lambda: requests.ask(settings, "phi3/9", "Production", "New.", ADA))
    made = requests.ask(settings, version.ref, "Production", "Fast.", ADA)
    refused(
        Conflict, "ada@example.org asked", lambda: requests.ask(settings, version.ref, "Production", "Me too.", BOB)
    )
    assert requests.ask(settings, version.ref, "Staging", "Fast.", BOB).status == "open"
    refused(BadInput, "approve or reject", lambda: requests.decide(settings, made.id, "maybe", "", BOB))
    for id in ("nothing", "0" * 32, version.run_id, "", "it's"):
        refused(NotFound, "There is no request", lambda id=id: requests.decide(settings, id, "approve", "", BOB))
    promote(settings, version.ref, "Production", "", ROB)
    refused(Conflict, "already", lambda: requests.ask(settings, version.ref, "Production", "Again.", ADA))


def test_files_that_cannot_be_read_cannot_be_asked_for(settings: Settings) -> None:
    number = fakes.register(settings, "phi3", (settings.home / "nowhere").as_uri())

    with pytest.raises((NotFound, StoreError), match="files"):
        requests.ask(settings, f"phi3/{number}", "Production", "New.", ADA)
    assert requests.of_model(settings, "phi3") == []


# ---------------------------------------------------------------- bound to the files


def test_a_changed_byte_voids_a_request_with_its_approvals_and_blocks_the_promotion(
    settings: Settings, version: Version
) -> None:
    policy.write(settings, "phi3", "Production", Policy(approvals=1), ROOT)
    made = requests.ask(settings, version.ref, "Production", "Fast.", ADA)
    assert requests.decide(settings, made.id, "approve", "", BOB).status == "approved"

    weights = folder_of(version) / WEIGHTS
    weights.write_bytes(b"weightS")

    void = requests.get(settings, made.id)
    assert (void.status, [d.valid for d in void.decisions]) == ("void", [False])
    assert "were changed" in void.why
    assert requests.waiting(settings) == []
    with pytest.raises(Conflict, match="void"):
        requests.decide(settings, made.id, "approve", "", EVE)
    with pytest.raises(PolicyUnmet, match="is void"):
        promote(settings, version.ref, "Production", "Fast.", ROB)
    assert reader.get_version(settings, version.ref).stage == "None"

    again = requests.ask(settings, version.ref, "Production", "Faster.", ADA)
    requests.decide(settings, again.id, "approve", "", BOB)
    assert promote(settings, version.ref, "Production", "", ROB).version.stage == "Production"
    assert {r.id: r.status for r in requests.of_model(settings, "phi3")} == {made.id: "void", again.id: "promoted"}


def test_files_that_are_as_they_were_again_are_approved_again(settings: Settings, version: Version, asked: str) -> None:
    requests.decide(settings, asked, "approve", "", BOB)
    weights = folder_of(version) / WEIGHTS
    weights.write_bytes(b"weightS")
    assert requests.get(settings, asked).status == "void"

    weights.write_bytes(b"weights")

    assert requests.get(settings, asked).status == "approved"


def test_a_version_that_is_gone_voids_its_requests(settings: Settings, version: Version, asked: str) -> None:
    mlflow_client(settings).delete_model_version("phi3", "1")

    request = requests.get(settings, asked)

    assert request.status == "void"
    assert "no version 1" in request.why
    mlflow_client(settings).delete_registered_model("phi3")
    assert [r.status for r in requests.of_model(settings, "phi3")] == ["void"]
    assert requests.get(settings, asked).status == "void"


def test_files_on_a_server_are_compared_by_name_and_size_at_a_look_and_byte_by_byte_where_it_counts(
    store: Settings, fresh: str, tmp_path: Path
) -> None:
    version, write = version_in_store(store, tmp_path, fresh)
    policy.write(store, fresh, "Production", Policy(approvals=1), ROOT)
    made = requests.ask(store, version.ref, "Production", "Fast.", ADA)
    assert requests.decide(store, made.id, "approve", "", BOB).status == "approved"
    assert policy.checklist(store, version, "Production", look=True)[0].met
    here = artifacts.local_folder(store, version) is not None

    write(WEIGHTS, b"weightS")  # as many bytes

    look = requests.get(store, made.id)
    assert (look.status, "Only the names and sizes" in look.compared) == (
        ("void", False) if here else ("approved", True)
    )
    assert policy.checklist(store, version, "Production", look=True)[0].met is not here
    (check,) = policy.checklist(store, version, "Production")
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

    def meanwhile(settings: Settings, name: str) -> None:
        nonlocal waiting
        waiting = True
        others(settings, name)
        for change in changes:
            change()

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

    def meanwhile(settings: Settings, name: str) -> None:
        others(settings, name)
        (tmp_path / "model.onnx").write_bytes(b"weightS")
        repository.log_artifact(str(tmp_path / "model.onnx"), "weights")

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

    def meanwhile(settings: Settings, name: str) -> None:
        others(settings, name)
        if not requests.of_model(settings, name):
            requests.ask(store, version.ref, "Production", "Fast.", ADA)

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


# ---------------------------------------------------------------- the way back


@pytest.fixture
def two(store: Settings, fresh: str, tmp_path: Path) -> Callable[[str, bytes], None]:
    """Two versions that were in Production one after the other, and what writes into a file of the first."""
    first, write = version_in_store(store, tmp_path, fresh)
    second, _ = version_in_store(store, tmp_path, fresh)
    made = requests.ask(store, first.ref, "Production", "Fast.", ADA)
    promote(store, first.ref, "Production", "", ROB, request=made.id)
    promote(store, second.ref, "Production", "", ROB)
    return write


def test_a_rollback_to_files_that_changed_is_refused_and_an_admin_overrides_it_with_the_reason(
    store: Settings, fresh: str, two: Callable[[str, bytes], None]
) -> None:
    two(WEIGHTS, b"weightS")  # as many bytes

    with pytest.raises(Conflict, match="not those that were in Production.* Promote another version, or build .*admin"):
        rollback(store, fresh, "It loops.", ROB)
    with pytest.raises(Forbidden, match="admin"):
        rollback(store, fresh, "It loops.", ROB, override=True)
    assert reader.get_version(store, f"{fresh}@production").version == 2

    done = rollback(store, fresh, "It loops.", ROOT, override=True)

    record = search.get(store, done.record)
    assert (done.version.version, record.reason, record.override) == (1, "It loops.", "It loops.")
    assert record.digest == artifacts.compute_digest(store, done.version)


def test_a_rollback_to_the_same_files_overrides_nothing_though_an_admin_would(
    store: Settings, fresh: str, two: Callable[[str, bytes], None]
) -> None:
    record = search.get(store, rollback(store, fresh, "It loops.", ROOT, override=True).record)

    assert (record.version, record.override) == (1, "")
    assert record.digest == artifacts.compute_digest(store, reader.get_version(store, f"{fresh}/1"))


def test_a_rollback_minds_the_files_that_a_promotion_recorded_and_no_record_that_was_edited_or_made_up(
    settings: Settings, version: Version, tmp_path: Path
) -> None:
    promote(settings, version.ref, "Production", "", ROB)
    promote(settings, version_with_files(settings, tmp_path).ref, "Production", "", ROB)
    (folder_of(version) / WEIGHTS).write_bytes(b"weightS")
    changed = artifacts.compute_digest(settings, version)
    made_up(settings, None, **{tags.ACTION: "promote", tags.FROM: "None", tags.DIGEST: changed})
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "1")
    reconcile(settings, "phi3")  # finds it, and knows no digest
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "2")
    reconcile(settings, "phi3")

    with pytest.raises(Conflict, match="not those that were in Production"):
        rollback(settings, "phi3", "It loops.", ROB)


def test_a_rollback_to_files_that_cannot_be_read_is_refused_and_overridden_like_one_to_others(
    settings: Settings, tmp_path: Path
) -> None:
    first, second = version_with_files(settings, tmp_path), version_with_files(settings, tmp_path)
    mlflow_client(settings).set_model_version_tag("phi3", "1", tags.DIGEST, "d" * 64)
    promote(settings, first.ref, "Production", "", ROB)
    promote(settings, second.ref, "Production", "", ROB)
    (folder_of(first) / WEIGHTS).unlink()
    (folder_of(first) / WEIGHTS).symlink_to("/proc/self/mem")

    with pytest.raises(Conflict, match="Nobody can tell .* Promote another version"):
        rollback(settings, "phi3", "It loops.", ROB)

    record = search.get(settings, rollback(settings, "phi3", "It loops.", ROOT, override=True).record)
    assert (record.version, record.override, record.digest) == (1, "It loops.", "d" * 64)
    assert "as registered, not checked" in record.checks[-1]["says"]
    promote(settings, second.ref, "Production", "", ROB)
    shutil.rmtree(folder_of(first))
    with pytest.raises(NotFound, match="gone"):
        rollback(settings, "phi3", "It loops.", ROOT, override=True)


# ---------------------------------------------------------------- behind our back


def test_a_decision_that_was_edited_or_made_up_does_not_count(settings: Settings, asked: str) -> None:
    requests.decide(settings, asked, "reject", "No.", EVE)
    (rejected,) = (r for r in search.of_model(settings, "phi3") if r.action == "reject")
    run = mlflow_client(settings).get_run(rejected.id)
    mlflow_client(settings).set_tag(rejected.id, tags.ACTION, "approve")
    made_up = {**run.data.tags, tags.ACTION: "approve", tags.USER: BOB.name}
    mlflow_client(settings).create_run(run.info.experiment_id, tags=made_up)

    request = requests.get(settings, asked)

    assert (request.status, request.decisions) == ("open", ())
    assert len(search.verify(settings, "phi3")) >= 2


def made_up(settings: Settings, key: str | None, at: int | None = None, **tag_values: str) -> str:
    """A record by anybody with MLflow's own API. key: what it is sealed with, None for not at all."""
    at = at or int(time.time() * 1000)
    known = {tags.MODEL_NAME: "phi3", tags.VERSION: "1", tags.TO: "Production", tags.USER: BOB.name, **tag_values}
    if key is not None:
        known[tags.SEAL] = seal.of_intent(known, at, key)
        known |= {tags.STATUS: "done", tags.OUTCOME: "Done.", tags.ENDED: str(at)}
        known[tags.CLOSING] = seal.of_result(known, key)
    run = mlflow_client(settings).create_run(experiment_id(settings, tags.PROMOTIONS), at, known)
    mlflow_client(settings).set_terminated(run.info.run_id)
    return str(run.info.run_id)


@pytest.mark.parametrize("verdict", ["approve", "reject", "withdraw", "request"])
def test_a_record_without_a_seal_is_no_step_of_a_request(settings: Settings, asked: str, verdict: str) -> None:
    for at in (None, 1):
        tag_values = {tags.ACTION: verdict, tags.REQUEST: "" if verdict == "request" else asked}
        made = made_up(settings, None, at, **tag_values)

        assert [(r.id, r.status, r.decisions) for r in requests.of_model(settings, "phi3")] == [(asked, "open", ())]
        assert [(r.id, r.status) for r in requests.waiting(settings)] == [(asked, "open")]
        assert requests.get(settings, asked).status == "open"
        if verdict == "request":
            with pytest.raises(NotFound, match="There is no request"):
                requests.get(settings, made)


@pytest.mark.parametrize("verdict", ["approve", "reject", "withdraw", "request"])
def test_with_a_key_a_record_that_was_sealed_without_it_is_no_step_of_a_request(
    settings: Settings, version: Version, verdict: str
) -> None:
    keyed = replace(settings, record_key="secret")
    asked = requests.ask(keyed, version.ref, "Production", "Fast.", ADA)
    for at in (None, 1):  # now, and set back to before there was a key
        tag_values = {tags.ACTION: verdict, tags.REQUEST: "" if verdict == "request" else asked.id}
        made_up(settings, "", at, **tag_values | {tags.DIGEST: asked.digest})

        assert [(r.id, r.status) for r in requests.of_model(keyed, "phi3")] == [(asked.id, "open")]
        assert requests.get(keyed, asked.id).decisions == ()
        assert [r.id for r in requests.waiting(keyed)] == [asked.id]
    assert requests.decide(keyed, asked.id, "approve", "", EVE).status == "approved"


def test_what_was_asked_and_approved_before_there_was_a_key_still_counts(settings: Settings, asked: str) -> None:
    requests.decide(settings, asked, "approve", "", BOB)
    keyed = replace(settings, record_key="secret")
    assert requests.get(keyed, asked).status == "approved"

    requests.decide(keyed, asked, "approve", "", EVE)

    found = requests.get(keyed, asked)
    assert (found.status, [d.by for d in found.approvals]) == ("approved", [BOB.name, EVE.name])
    assert [r.id for r in requests.waiting(keyed)] == [asked]
    made_up(settings, "", **{tags.ACTION: "reject", tags.REQUEST: asked, tags.DIGEST: found.digest})
    assert requests.get(keyed, asked).status == "approved"
    assert promote(keyed, "phi3/1", "Production", "", ROB, request=asked).version.stage == "Production"


def test_a_step_that_names_another_version_is_none_of_the_requests(
    settings: Settings, asked: str, tmp_path: Path
) -> None:
    other = version_with_files(settings, tmp_path)
    with pytest.raises(BadInput, match="not for phi3/2"):
        promote(settings, other.ref, "Production", "", ROB, request=asked)
    writer.append(settings, BOB, model="phi3", version=2, action="approve", new="Production", request=asked)

    assert requests.get(settings, asked).decisions == ()


# ---------------------------------------------------------------- many at once


def test_those_who_decide_at_once_are_all_recorded(settings: Settings, asked: str) -> None:
    policy.write(settings, "phi3", "Production", Policy(approvals=4), ROOT)
    names = [f"{name}@example.org" for name in ("bob", "eve", "joe", "sue")]
    barrier = threading.Barrier(len(names))

    def decide(name: str) -> None:
        barrier.wait(60)
        requests.decide(settings, asked, "approve", name, Person(name, "reviewer"))

    threads = [threading.Thread(target=decide, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    request = requests.get(settings, asked)

    assert (sorted(d.by for d in request.decisions), request.status) == (names, "approved")
    assert all(d.valid for d in request.decisions)
    assert search.verify(settings, "phi3") == []


def test_what_has_ended_is_not_read_again(
    settings: Settings, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "_CLOCKS", timedelta())
    read: list[str] = []

    def noted(run: Run, key: str) -> Record:
        read.append(run.info.run_id)
        return of_run(run, key)

    for number in range(3):
        asked = requests.ask(settings, version.ref, "Production", f"Try {number}.", ADA)
        requests.decide(settings, asked.id, "reject", "No.", BOB)
        requests.withdraw(settings, asked.id, "", ADA)
    assert requests.waiting(settings) == []
    monkeypatch.setattr(search, "of_run", noted)
    asked = requests.ask(settings, version.ref, "Production", "At last.", ADA)
    read.clear()

    assert [(r.id, r.status) for r in requests.waiting(settings)] == [(asked.id, "open")]
    assert read == [asked.id]
    read.clear()
    requests.decide(settings, asked.id, "approve", "", BOB)
    other = requests.ask(settings, version.ref, "Staging", "Fast.", ADA)
    assert [(r.id, r.status) for r in requests.waiting(settings)] == [(other.id, "open"), (asked.id, "approved")]
    requests.decide(settings, other.id, "reject", "No.", BOB)
    assert [r.id for r in requests.waiting(settings)] == [asked.id]
    requests.decide(settings, other.id, "approve", "Well.", BOB)
    assert [r.id for r in requests.waiting(settings)] == [other.id, asked.id]
    promote(settings, version.ref, "Production", "", ROB, request=asked.id)
    assert [r.id for r in requests.waiting(settings)] == [other.id]


def test_a_promotion_that_was_under_way_for_long_ends_its_request_in_the_list_too(
    settings: Settings, version: Version, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "_CLOCKS", timedelta())
    with writer.opened(
        settings, ROB, model="phi3", version=1, action="promote", old="None", new="Production", request=asked
    ):
        for _ in range(2):
            assert [r.id for r in requests.waiting(settings)] == [asked]
    assert requests.waiting(settings) == []
    assert requests.waiting(settings) == []


def test_what_was_taken_out_of_the_record_is_seen_when_everything_is_read_again(
    settings: Settings, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests.decide(settings, asked, "approve", "", BOB)
    assert [r.status for r in requests.waiting(settings)] == ["approved"]
    step = next(r for r in search.of_model(settings, "phi3") if r.action == "approve")
    mlflow_client(settings).delete_run(step.id)

    monkeypatch.setattr(pending, "_WHOLE", 0.0)

    fakes.until(lambda: [r.status for r in requests.waiting(settings)] == ["open"])


def test_requests_of_many_models_are_listed_in_a_few_calls(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        made = version_with_files(settings, tmp_path, f"model-{number}")
        asked = requests.ask(settings, made.ref, "Staging", "Fast.", ADA)
        requests.decide(settings, asked.id, "approve", "", BOB)
    policy.write(settings, "model-3", "Staging", Policy(approvals=2), ROOT)
    counting = fakes.CountingClient(mlflow_client(settings))
    for module in (search, policy, reader):
        monkeypatch.setattr(module, "mlflow_client", lambda _: counting)

    found = requests.waiting(settings)

    assert [(r.model, r.status) for r in found] == [
        (f"model-{number}", "open" if number == 3 else "approved") for number in reversed(range(6))
    ]
    assert sum(counting.calls.values()) <= 3, counting.calls
    counting.calls.clear()
    assert requests.waiting(settings) == found
    assert sum(counting.calls.values()) <= 2, counting.calls
    (folder_of(reader.get_version(settings, "model-5/1")) / WEIGHTS).write_bytes(b"weightS")
    assert [r.model for r in requests.waiting(settings)] == [f"model-{number}" for number in reversed(range(5))]
