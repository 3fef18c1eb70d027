"""A request is bound to the files, and to records that this app wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.errors import BadInput, Conflict, NotFound, PolicyUnmet
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search, writer
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.policy.helpers import ROB, WEIGHTS, made_up
from tests.support.judging import ADA, BOB, EVE, ROOT, folder_of, version_with_files


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
