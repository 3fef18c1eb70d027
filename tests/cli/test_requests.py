"""phi3 request, approve, reject, withdraw and policy."""

from __future__ import annotations

import json

import pytest

from phi3core.access.roles import Person
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy, Threshold
from phi3core.promotion.record import search
from phi3core.settings import Settings
from tests.cli.commands import done, refused, run, stages

ANN, RAY = Person("ann@example.org", "admin"), Person("ray@example.org", "reviewer")


def test_a_request_is_asked_approved_and_carried_out(phi3: Settings) -> None:
    assert done("request") == "No request waits.\n"
    made = json.loads(done("request", "phi3/2", "--reason", "It wins", "--json"))
    assert (made["version"], made["stage"], made["status"]) == (2, "Production", "open")
    assert done("request").splitlines()[1].split()[:4] == [made["id"], "phi3/2", "Production", "open"]
    assert done("approve", "phi3/2", "--comment", "It does") == "phi3/2 is approved for Production.\n"
    assert [one["status"] for one in json.loads(done("request", "--json"))] == ["approved"]
    done("promote", "phi3/2", "--stage", "Production", "--request", made["id"])
    assert requests.get(phi3, made["id"]).status == "promoted"
    assert done("request") == "No request waits.\n"


def test_a_request_is_rejected_with_a_comment_and_withdrawn(phi3: Settings) -> None:
    asked = requests.ask(phi3, "phi3/1", "Staging", "Please", RAY)
    assert run("reject", asked.id).exit_code == 2, "it wants a comment"
    assert done("reject", asked.id, "--comment", "No licence") == "phi3/1 is rejected for Staging.\n"
    assert requests.get(phi3, asked.id).decisions[0].comment == "No licence"
    done("withdraw", asked.id)
    assert requests.get(phi3, asked.id).status == "withdrawn"


def test_a_version_with_two_requests_is_asked_about_by_id(phi3: Settings) -> None:
    asked = [requests.ask(phi3, "phi3/1", stage, "Please", RAY) for stage in ("Staging", "Production")]
    told = refused("approve", "phi3/1")
    assert all(one.id in told for one in asked)
    assert "No request for phi3/2 waits" in refused("approve", "phi3/2")
    assert "There is no request" in refused("approve", "0" * 32)


def test_a_policy_is_set_shown_changed_and_removed(phi3: Settings) -> None:
    assert done("policy", "show", "phi3") == "phi3 has no policy: a promotion needs nothing.\n"
    more = ("--metric", "tokens_per_second>=20", "--metric", "first_token_ms <= 50", "--tag", "phi3.licence")
    done("policy", "set", "phi3", "production", "--approvals", "2", "--other-approver", "--win-rate", "55%", *more)
    limits = (Threshold("tokens_per_second", at_least=20.0), Threshold("first_token_ms", at_most=50.0))
    wanted = Policy(2, True, 0, 0.55, limits, ("phi3.licence",))
    assert policy.read(phi3, "phi3") == {"Production": wanted}
    assert "Production needs 2 approvals, an approver who is not the author" in done("policy", "show", "phi3")
    done("policy", "set", "phi3", "Production", "--approvals", "1", "--win-rate", "none")
    assert policy.read(phi3, "phi3")["Production"] == Policy(1, True, 0, None, limits, ("phi3.licence",))
    assert json.loads(done("policy", "show", "phi3", "--json"))["Production"]["approvals"] == 1
    done("policy", "set", "phi3", "Production", "--nothing")
    assert policy.read(phi3, "phi3") == {}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "Say what the policy needs"),
        (("--metric", "tokens_per_second=20"), "is no limit"),
        (("--metric", "speed>=fast"), "is no limit"),
        (("--win-rate", "often"), "is no share"),
        (("--win-rate", "55"), "from 0 to 1"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(phi3: Settings, options: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused("policy", "set", "phi3", "Production", *options)
    assert policy.read(phi3, "phi3") == {}


def test_what_is_not_met_blocks_unless_an_admin_overrides_it(phi3: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    policy.write(phi3, "phi3", "Production", Policy(approvals=1), ANN)
    assert "The policy for Production is not met" in refused("promote", "phi3/1", "--stage", "Production")
    phi3.secrets.write_text(f'[roles]\nreleaser = ["{RAY.name}"]\nadmin = ["{ANN.name}"]\n')
    monkeypatch.setenv("PHI3_USER", RAY.name)
    override = ("promote", "phi3/1", "--stage", "Production", "--override", "It burns")
    assert "needs the role admin" in refused(*override)
    assert stages(phi3)[1] == "None"
    monkeypatch.setenv("PHI3_USER", ANN.name)
    done(*override)
    assert search.of_model(phi3, "phi3")[0].override == "It burns"
