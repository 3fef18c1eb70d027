"""A promotion is asked for, decided on and carried out, each step a record."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, StoreError
from phi3core.promotion import promote as promote_module
from phi3core.promotion.aliases import Snapshot
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search
from phi3core.promotion.record.history import History
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.promotion.policy.helpers import ROB
from tests.support import fakes
from tests.support.judging import ADA, BOB, EVE, ROOT


def test_a_rejection_that_comes_while_a_promotion_waits_for_its_turn_still_counts(
    settings: Settings, version: Version, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests.decide(settings, asked, "approve", "", BOB)
    others = promote_module._after_others

    def meanwhile(settings: Settings, name: str, before: History) -> Snapshot:
        requests.decide(settings, asked, "reject", "It swears.", EVE)
        return others(settings, name, before)

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
