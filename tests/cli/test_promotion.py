"""python -m phi3core: requests, policies, the way back, and the record."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.cli import group as group_commands
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy, Threshold
from phi3core.promotion.record import search
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.support import fakes

ANN, RAY = Person("ann@example.org", "admin"), Person("ray@example.org", "reviewer")


def run(*args: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(group_commands.main, args, input=typed)


def done(*args: str, typed: str | None = None) -> str:
    """What a command that must go well prints."""
    told = run(*args, typed=typed)
    assert told.exit_code == 0, told.output
    return told.stdout


def refused(*args: str, typed: str | None = None) -> str:
    """The one sentence of a command that must be refused."""
    told = run(*args, typed=typed)
    assert told.exit_code == 1, told.output
    assert told.stdout == ""
    return told.stderr


@pytest.fixture
def phi3(settings: Settings, tmp_path: Path) -> Settings:
    """phi3/1 and /2, with files."""
    for number in (1, 2):
        folder = tmp_path / f"model-{number}"
        folder.mkdir()
        (folder / "MLmodel").write_text(f"flavors: {{python_function: {{}}}}\n# {number}\n")
        fakes.register(
            settings, "phi3", folder.as_uri(), {tags.SIZE: f"{number}"}, {"tokens_per_second": 20.0 + number}
        )
    return settings


def stages(settings: Settings) -> dict[int, str]:
    return {version.version: version.stage for version in reader.list_versions(settings, "phi3")}


# ---------------------------------------------------------------- moving


def test_what_the_old_one_becomes_is_said_and_recorded(phi3: Settings) -> None:
    done("promote", "phi3/1", "--stage", "production")
    told = done("promote", "phi3/2", "--stage", "production", "--old", "none", "--reason", "Faster")
    assert told == "phi3/2 is now in Production. phi3/1 is in no stage now.\n"
    assert stages(phi3) == {1: "None", 2: "Production"}
    newest = search.of_model(phi3, "phi3")[0]
    assert (newest.reason, newest.replaced_to) == ("Faster", "None")


def test_a_rollback_goes_to_the_previous_production(phi3: Settings) -> None:
    done("promote", "phi3/1", "--stage", "Production")
    assert "no version that was in Production before" in refused("rollback", "phi3", "--reason", "It loops")
    done("promote", "phi3/2", "--stage", "Production")
    assert run("rollback", "phi3").exit_code == 2, "it wants a reason"
    told = done("rollback", "phi3", "--reason", "It loops")
    assert told == "phi3/1 is in Production again. phi3/2 was archived.\n"
    assert stages(phi3) == {1: "Production", 2: "Archived"}


def test_a_rollback_over_changed_files_is_refused_and_an_admin_overrides_it(phi3: Settings, tmp_path: Path) -> None:
    done("promote", "phi3/1", "--stage", "Production")
    done("promote", "phi3/2", "--stage", "Production")
    (tmp_path / "model-1" / "MLmodel").write_text("flavors: {python_function: {}}\n# x\n")

    assert "an admin can roll back to it all the same" in refused("rollback", "phi3", "--reason", "It loops")
    assert stages(phi3) == {1: "Archived", 2: "Production"}
    done("rollback", "phi3", "--reason", "It loops", "--override")
    assert stages(phi3) == {1: "Production", 2: "Archived"}
    assert search.of_model(phi3, "phi3")[0].override == "It loops"


def test_deleting_asks_for_the_name_and_refuses_what_is_needed(phi3: Settings) -> None:
    done("promote", "phi3/1", "--stage", "Production")
    assert "is in Production" in refused("delete", "phi3/1", "--reason", "Old", "--confirm", "phi3/1")
    assert "nothing was deleted" in run("delete", "phi3/2", "--reason", "Old", typed="phi3/1\n").stderr
    assert set(stages(phi3)) == {1, 2}
    assert done("delete", "phi3/2", "--reason", "Old", typed="phi3/2\n") == "phi3/2 is deleted.\n"
    assert set(stages(phi3)) == {1}


# ---------------------------------------------------------------- requests


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


# ---------------------------------------------------------------- policies


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


# ---------------------------------------------------------------- the record


@pytest.fixture
def history(phi3: Settings) -> Settings:
    done("promote", "phi3/1", "--stage", "Production", "--reason", "First, and =good")
    done("promote", "phi3/2", "--alias", "champion")
    done("promote", "phi3/2", "--stage", "Production", "--reason", "Faster")
    return phi3


def test_the_record_is_printed_newest_first_and_filtered(history: Settings) -> None:
    head, *rows = done("record").splitlines()
    assert head.split() == ["WHEN", "VERSION", "WHAT", "FROM", "TO", "WHO", "STATUS", "WHY"]
    assert [row.split()[2] for row in rows] == ["phi3/2", "phi3/2", "phi3/1"]
    assert "First, and =good" in rows[-1]
    assert len(done("record", "--limit", "1").splitlines()) == 2
    assert len(done("record", "--model", "phi3", "--version", "2").splitlines()) == 3
    assert len(done("record", "--action", "promote", "--text", "fast").splitlines()) == 2
    assert done("record", "--until", "2020-01-01") == "No such record.\n"
    assert len(done("record", "--since", "2020-01-01", "--limit", "0").splitlines()) == 4
    assert "name it with --model" in refused("record", "--version", "1")


def test_the_record_goes_out_as_json_and_csv(history: Settings) -> None:
    told = json.loads(done("record", "--json"))
    assert [(one["version"], one["action"], one["new"]) for one in told] == [
        (2, "promote", "Production"), (2, "set alias", "@champion"), (1, "promote", "Production"),
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(done("record", "--csv"))))
    assert [row["reason"] for row in rows] == ["Faster", "", "First, and =good"]


def test_a_record_that_was_edited_is_found(history: Settings) -> None:
    assert "is whole" in done("record", "--model", "phi3", "--verify")
    first = search.of_model(history, "phi3")[-1]
    mlflow_client(history).set_tag(first.id, tags.REASON, "Nobody asked me")
    assert "was edited after it was written" in refused("record", "--model", "phi3", "--verify")
    assert "done, EDITED" in done("record")


def test_a_record_that_was_made_up_is_found_and_shown_as_such(history: Settings) -> None:
    tag_values = {tags.ACTION: "promote", tags.MODEL_NAME: "phi3", tags.VERSION: "1", tags.TO: "Production"}
    run_id = mlflow_client(history).create_run(experiment_id(history, tags.PROMOTIONS), tags=tag_values).info.run_id
    mlflow_client(history).set_terminated(run_id)
    assert "it has no seal" in refused("record", "--model", "phi3", "--verify")
    assert "done, NO SEAL" in done("record")


def test_a_restoration_that_was_taken_out_of_the_record_is_missed(history: Settings) -> None:
    for _ in range(2):
        mlflow_client(history).delete_experiment(experiment_id(history, tags.PROMOTIONS))
        search.restore(history, ANN)
    assert "is whole" in done("record", "--model", "phi3", "--verify")
    mlflow_client(history).delete_run(search.page(history, action="restore").records[1].id)
    assert "is missing: it was deleted" in refused("record", "--model", "phi3", "--verify")


# ---------------------------------------------------------------- two versions


def test_what_differs_between_two_versions_is_printed(phi3: Settings) -> None:
    told = done("compare", "phi3/1", "phi3/2")
    assert "tokens_per_second" in told
    assert "phi3/1 and phi3/1 do not differ" in done("compare", "phi3/1", "phi3/1")
    plain = json.loads(done("compare", "phi3/1", "phi3/2", "--json"))
    assert {"Metrics", "Files"} <= {one["section"] for one in plain["differences"]}
    assert not [one for one in plain["differences"] if one["same"]]


def test_a_version_is_copied_to_another_model_and_says_where_it_is_from(phi3: Settings) -> None:
    assert done("copy", "phi3/2", "phi3-edge", "--reason", "For the fair") == "phi3/2 is phi3-edge/1 now.\n"
    copied = reader.get_version(phi3, "phi3-edge/1")
    assert copied.tags[tags.ORIGIN_VERSION] == "phi3/2"
    assert "is in phi3 already" in refused("copy", "phi3/2", "phi3").splitlines()[-1]
