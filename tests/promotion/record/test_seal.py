"""Records that were edited, deleted or made up are found out."""

from __future__ import annotations

import dataclasses

import pytest

from phi3core import tags
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import seal, search, writer
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.record.helpers import ADA, add, unsealed


def test_what_was_never_touched_is_intact(three: Settings) -> None:
    listed = search.of_model(three, "phi3")

    assert search.verify(three, "phi3") == []
    assert all(record.intact for record in listed)
    assert [record.previous for record in listed] == [listed[1].seal, listed[2].seal, ""]
    assert mlflow_client(three).get_registered_model("phi3").tags[tags.RECORD] == listed[0].seal


def test_a_record_without_evidence_is_sealed_as_before_there_was_any() -> None:
    intent = {tags.ACTION: "promote", tags.MODEL_NAME: "phi3", tags.VERSION: "2", tags.TO: "Production"}

    before = "sha256-4af9b31bb33692d9c42f209ca5617295c5a63c1c36befd3bc13bd5eba10406c6"
    assert seal.of_intent(intent, 1_700_000_000_000, "") == before
    assert seal.of_intent(intent | {tags.EVIDENCE: "{}"}, 1_700_000_000_000, "") != before


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (tags.USER, "mallory"),
        (tags.REASON, "another reason"),
        (tags.VERSION, "3"),
        (tags.TO, "Staging"),
        (tags.CHECKS, '[{"name": "approvals", "met": true, "says": "yes"}]'),
        (tags.DIGEST, "0"),
        (tags.PREVIOUS, ""),
        (tags.STATUS, "failed"),
        (tags.OUTCOME, "All went well."),
        (tags.ENDED, "1"),
        (tags.SEAL, "sha256-0"),
        (tags.CLOSING, "sha256-0"),
    ],
)
def test_an_edited_record_is_found_out(three: Settings, tag: str, value: str) -> None:
    edited = search.of_model(three, "phi3")[1]

    mlflow_client(three).set_tag(edited.id, tag, value)

    assert [r.intact for r in search.of_model(three, "phi3")] == [True, False, True]
    assert any("was edited after it was written" in sentence for sentence in search.verify(three, "phi3"))
    assert reconcile(three, "phi3").damage == search.verify(three, "phi3")


@pytest.mark.parametrize("tag", [tags.SEAL, tags.CLOSING, tags.PREVIOUS, tags.USER])
def test_a_record_that_lost_a_tag_is_found_out(three: Settings, tag: str) -> None:
    edited = search.of_model(three, "phi3")[1]

    mlflow_client(three).delete_tag(edited.id, tag)

    assert search.verify(three, "phi3") != []


def test_an_edited_status_is_found_out(three: Settings) -> None:
    mlflow_client(three).set_terminated(search.of_model(three, "phi3")[1].id, "FAILED")

    assert "was edited" in search.verify(three, "phi3")[0]


@pytest.mark.parametrize(("which", "says"), [(0, "The latest record"), (1, "A record of phi3 before"), (2, "A record")])
def test_a_deleted_record_is_missed(three: Settings, which: int, says: str) -> None:
    mlflow_client(three).delete_run(search.of_model(three, "phi3")[which].id)

    (sentence,) = search.verify(three, "phi3")
    assert sentence.startswith(says)
    assert "is missing: it was deleted" in sentence
    seen = reconcile(three, "phi3")
    assert "is missing: it was deleted" in seen.damage[0]
    assert not any("from outside" in said for said in seen.messages)


def test_a_record_that_was_stripped_of_its_seals_breaks_the_chain(three: Settings) -> None:
    stripped = search.of_model(three, "phi3")[1]
    for tag in (tags.SEAL, tags.CLOSING, tags.PREVIOUS):
        mlflow_client(three).delete_tag(stripped.id, tag)

    assert "is missing" in search.verify(three, "phi3")[0]


def test_a_model_that_lost_its_tag_is_told(three: Settings) -> None:
    mlflow_client(three).delete_registered_model_tag("phi3", tags.RECORD)

    assert search.verify(three, "phi3") == [
        "The model's tag phi3.record, which names its latest record, is missing: it was deleted."
    ]


def test_two_machines_that_fork_the_chain_have_done_no_damage(three: Settings) -> None:
    head = mlflow_client(three).get_registered_model("phi3").tags[tags.RECORD]
    add(three)
    mlflow_client(three).set_registered_model_tag("phi3", tags.RECORD, head)  # the other one read it before
    add(three)
    add(three)

    assert search.verify(three, "phi3") == []


def test_a_record_without_a_seal_is_told_where_there_are_sealed_ones_before_it(three: Settings) -> None:
    forged = unsealed(three, **{tags.ACTION: "promote", tags.VERSION: "1", tags.TO: "Production"})

    listed = search.of_model(three, "phi3")

    assert listed[0].id == forged
    assert listed[0].doubt == "no seal"
    (sentence,) = search.verify(three, "phi3")
    assert "was not written by this app: it has no seal" in sentence
    assert reconcile(three, "phi3").damage == [sentence]


def test_with_a_key_nobody_else_can_compute_a_seal(three: Settings) -> None:
    sealed = dataclasses.replace(three, record_key="secret")
    first, second = (writer.append(sealed, ADA, model="phi3", version=1, action="request") for _ in range(2))
    tag_values = mlflow_client(three).get_run(second.id).data.tags | {tags.REASON: "forged"}
    forged = seal.of_intent(tag_values, int(second.started.timestamp() * 1000), "")

    assert first.intact
    assert first.seal.startswith("hmac-")
    assert search.verify(sealed, "phi3") == []
    closing = seal.of_result(tag_values | {tags.SEAL: forged}, "")
    for tag, value in ((tags.REASON, "forged"), (tags.SEAL, forged), (tags.CLOSING, closing)):
        mlflow_client(three).set_tag(second.id, tag, value)
    mlflow_client(three).set_registered_model_tag("phi3", tags.RECORD, forged)

    assert any("was edited" in sentence for sentence in search.verify(sealed, "phi3"))


def test_what_was_sealed_before_there_was_a_key_stays_intact(three: Settings) -> None:
    sealed = dataclasses.replace(three, record_key="secret")
    writer.append(sealed, ADA, model="phi3", version=1, action="request")

    assert search.verify(sealed, "phi3") == []


def test_without_the_key_that_a_record_was_sealed_with_it_can_not_be_vouched_for(three: Settings) -> None:
    sealed = dataclasses.replace(three, record_key="secret")
    writer.append(sealed, ADA, model="phi3", version=1, action="request")

    assert "PHI3_RECORD_KEY" in " ".join(search.verify(three, "phi3"))
