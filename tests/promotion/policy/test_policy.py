"""What a promotion needs: how a policy is set, read and checked, with the evidence that is shown."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Forbidden, NotFound, PolicyUnmet
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Check, Policy, Threshold, checklist
from phi3core.promotion.promote import promote
from phi3core.promotion.record import seal, search
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.support import fakes
from tests.support.judging import ADA, BOB, EVE, ROOT, answered, kept, version_with_files, voted


@pytest.fixture
def version(settings: Settings, tmp_path: Path) -> Version:
    return version_with_files(settings, tmp_path)


def says(checks: list[Check], name: str) -> tuple[bool, str]:
    (found,) = (check for check in checks if check.name == name)
    return found.met, found.says


def wants(settings: Settings, version: Version, stage: str = "Production", **needs: object) -> list[Check]:
    """The checklist under a policy of one's own."""
    policy.write(settings, version.name, stage, Policy(**needs), ROOT)  # type: ignore[arg-type]
    return checklist(settings, reader.get_version(settings, version.ref), stage)


# ---------------------------------------------------------------- setting and reading


def test_a_policy_is_read_as_it_was_set_and_each_stage_has_its_own(settings: Settings, version: Version) -> None:
    strict = Policy(
        2,
        True,
        5,
        0.55,
        (Threshold("speed", at_least=20), Threshold("loss", at_most=0.5)),
        ("licence", "a=b"),
        True,
    )
    assert policy.read(settings, "phi3") == {}

    policy.write(settings, "phi3", "production", strict, ROOT, "we ship on Friday")
    policy.write(settings, "phi3", "Staging", Policy(reviews=1), ROOT)

    assert policy.read(settings, "phi3") == {"Production": strict, "Staging": Policy(reviews=1)}
    assert policy.every(settings) == {"phi3": policy.read(settings, "phi3")}


def test_setting_a_policy_is_recorded_with_what_was_needed_before(settings: Settings, version: Version) -> None:
    policy.write(settings, "phi3", "Production", Policy(approvals=1), ROOT)
    policy.write(
        settings,
        "phi3",
        "Production",
        Policy(2, metrics=(Threshold("speed", 20, 90),), tags=("a=b",)),
        ROOT,
        "stricter",
    )

    record = search.of_model(settings, "phi3")[0]

    assert (record.action, record.user, record.reason, record.status) == ("set policy", ROOT.name, "stricter", "done")
    assert record.old == "Production needs 1 approval"
    assert record.new == "Production needs 2 approvals, speed at least 20.0 and at most 90.0, the tag a=b"


def test_a_policy_that_needs_nothing_is_none(settings: Settings, version: Version) -> None:
    policy.write(settings, "phi3", "Production", Policy(approvals=1), ROOT)
    policy.write(settings, "phi3", "Production", Policy(), ROOT)

    assert policy.read(settings, "phi3") == {}
    assert checklist(settings, version, "Production") == []
    assert search.of_model(settings, "phi3")[0].new == "Production needs nothing"


def test_only_an_admin_sets_a_policy(settings: Settings, version: Version) -> None:
    with pytest.raises(Forbidden, match="admin"):
        policy.write(settings, "phi3", "Production", Policy(), Person("rob", "releaser"))
    with pytest.raises(NotFound, match="nothing"):
        policy.write(settings, "nothing", "Production", Policy(1), ROOT)
    assert search.of_model(settings, "phi3") == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"approvals": -1}, "approvals is “-1”: write a whole number from 0"),
        ({"approvals": 1.5}, "whole number"),
        ({"approvals": True}, "whole number"),
        ({"reviews": "many"}, "reviews is “many”"),
        ({"win_rate": 55}, "from 0 to 1, such as 0.55"),
        ({"win_rate": float("nan")}, "from 0 to 1"),
        ({"other_approver": "yes"}, "other_approver is “yes”: write true or false"),
        ({"metrics": (Threshold(" ", 1),)}, "names no metric"),
        ({"metrics": (Threshold("speed"),)}, "speed has no limit"),
        ({"metrics": (Threshold("speed", 5, 4),)}, "no value is both"),
        ({"metrics": (Threshold("speed", float("inf")),)}, "speed is “inf”: write a number"),
        ({"metrics": (Threshold("speed", 5), Threshold("speed ", at_most=4))}, "“speed” is named twice"),
        ({"tags": ("=nlp",)}, "names no tag"),
        ({"tags": ("team", "team=nlp")}, "“team” is named twice"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_write(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        policy.checked(Policy(**values))  # type: ignore[arg-type]


def test_what_is_refused_changes_nothing(settings: Settings, version: Version) -> None:
    long = Policy(tags=tuple(f"tag-{number}" * 10 for number in range(40)))
    for wanted, sentence in ((Policy(approvals=-1), "whole number"), (long, "Make it shorter")):
        with pytest.raises(BadInput, match=sentence):
            policy.write(settings, "phi3", "Production", wanted, ROOT)
    for stage in ("None", "Archived", "Live", ""):
        with pytest.raises(BadInput, match="Production and Staging"):
            policy.write(settings, "phi3", stage, Policy(1), ROOT)
        assert checklist(settings, version, stage) == []
    assert policy.read(settings, "phi3") == {}
    assert search.of_model(settings, "phi3") == []


# ---------------------------------------------------------------- behind our back


def test_a_damaged_policy_blocks_and_says_so(settings: Settings, version: Version) -> None:
    for text in (
        "{", "[]", "null", '"Production"', '{"production": {}}', '{"Production": []}',
        '{"Production": {"approval": 1}}', '{"Production": {"approvals": "1"}}',
        '{"Production": {"metrics": [{"name": "x"}]}}', '{"Production": {"metrics": 3}}',
        '{"Production": {"win_rate": 7}}',
    ):  # fmt: skip
        mlflow_client(settings).set_registered_model_tag("phi3", tags.POLICY, text)

        (check,) = checklist(settings, version, "Production")

        assert not check.met, text
        assert "can't be read" in check.says
        assert "An admin must set it again." in check.says


def test_setting_one_stage_anew_leaves_the_other_one_blocked(settings: Settings, version: Version) -> None:
    mlflow_client(settings).set_registered_model_tag("phi3", tags.POLICY, "{damaged")

    policy.write(settings, "phi3", "Production", Policy(tags=("licence",)), ROOT)

    assert policy.read(settings, "phi3")["Production"] == Policy(tags=("licence",))
    assert "can't be read" in policy.read(settings, "phi3")["Staging"].damage
    assert not checklist(settings, version, "Staging")[0].met


@pytest.mark.parametrize("text", ["", "{}", '{"Production": {"reviews": 1}}'])
def test_a_policy_that_was_changed_or_removed_from_outside_blocks_and_says_what_was_set(
    settings: Settings, version: Version, text: str
) -> None:
    policy.write(settings, "phi3", "Production", Policy(approvals=2), ROOT)
    mlflow_client(settings).set_registered_model_tag("phi3", tags.POLICY, text)

    met, sentence = says(checklist(settings, version, "Production"), "policy")

    assert not met
    assert f"{ROOT.name} set “Production needs 2 approvals”" in sentence
    policy.write(settings, "phi3", "Production", Policy(), ROOT)
    assert checklist(settings, version, "Production") == []


def test_a_policy_that_nobody_recorded_blocks(settings: Settings, version: Version) -> None:
    mlflow_client(settings).set_registered_model_tag(
        "phi3", tags.POLICY, json.dumps({"Production": {"tags": ["phi3.wrapper"]}})
    )

    checks = checklist(settings, version, "Production")

    assert [(check.name, check.met) for check in checks] == [("policy", False), ("tag phi3.wrapper", True)]
    assert "no record says who did" in checks[0].says


@pytest.mark.parametrize("key", ["", "secret"])
def test_a_policy_that_was_weakened_together_with_a_made_up_record_blocks(
    settings: Settings, version: Version, key: str
) -> None:
    keyed = dataclasses.replace(settings, record_key=key)
    policy.write(keyed, "phi3", "Production", Policy(approvals=2), ROOT)
    for at in (int(time.time() * 1000), 1):
        tag_values = {tags.ACTION: "set policy", tags.MODEL_NAME: "phi3", tags.TO: "Production needs nothing"}
        if key:  # somebody without it can compute a plain seal
            tag_values[tags.SEAL] = seal.of_intent(tag_values, at, "")
            tag_values |= {tags.STATUS: "done", tags.OUTCOME: "Done.", tags.ENDED: str(at)}
            tag_values[tags.CLOSING] = seal.of_result(tag_values, "")
        run = mlflow_client(settings).create_run(experiment_id(settings, tags.PROMOTIONS), at, tag_values)
        mlflow_client(settings).set_terminated(run.info.run_id)
        mlflow_client(settings).set_registered_model_tag("phi3", tags.POLICY, "{}")

        met, sentence = says(checklist(keyed, version, "Production"), "policy")

        assert (met, "set “Production needs 2 approvals”" in sentence) == (False, True)


def test_a_policy_that_was_set_before_there_was_a_key_still_holds(settings: Settings, version: Version) -> None:
    policy.write(settings, "phi3", "Production", Policy(tags=("phi3.wrapper",)), ROOT)
    keyed = dataclasses.replace(settings, record_key="secret")
    for _ in range(2):
        assert [check.name for check in checklist(keyed, version, "Production")] == ["tag phi3.wrapper"]
        policy.write(keyed, "phi3", "Staging", Policy(reviews=1), ROOT)


def test_two_admins_who_set_both_stages_at_once_lose_nothing(settings: Settings, version: Version) -> None:
    def set_(stage: str) -> None:
        policy.write(settings, "phi3", stage, Policy(approvals=len(stage)), ROOT)

    threads = [threading.Thread(target=set_, args=(stage,)) for stage in policy.STAGES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert policy.read(settings, "phi3") == {"Production": Policy(10), "Staging": Policy(7)}


# ---------------------------------------------------------------- the lines


def test_metrics_are_compared_with_both_limits_and_the_run_is_named(settings: Settings, version: Version) -> None:
    limits = (
        Threshold("speed", at_least=100), Threshold("loss", 0, 0.5), Threshold("gone", 1),
    )  # fmt: skip
    checks = wants(settings, version, metrics=limits)

    run = version.run_id[:8]
    assert says(checks, "metric speed") == (True, f"100, at least 100 needed (run {run}).")
    assert says(checks, "metric loss") == (False, f"0.75, at least 0 and at most 0.5 needed (run {run}).")
    assert says(checks, "metric gone") == (False, f"at least 1 needed, and run {run} has no such metric.")


def test_a_metric_that_is_no_number_is_never_enough(settings: Settings, version: Version) -> None:
    mlflow_client(settings).log_metric(version.run_id, "odd", float("nan"))

    checks = wants(settings, version, metrics=(Threshold("odd", -1e300, 1e300),))

    assert not says(checks, "metric odd")[0]


def test_required_tags_are_there_with_the_value_asked_for(settings: Settings, version: Version) -> None:
    mlflow_client(settings).set_model_version_tag("phi3", "1", "team", "nlp=x")

    checks = wants(settings, version, tags=("team=nlp=x", "phi3.wrapper=other", "licence"))

    assert says(checks, "tag team") == (True, "It is “nlp=x”.")
    assert says(checks, "tag phi3.wrapper") == (False, "It is “onnx”; “other” is needed.")
    assert says(checks, "tag licence") == (False, "phi3/1 has no tag licence; it is needed.")


def test_reviews_are_thumbs_and_votes_of_people(settings: Settings, version: Version, tmp_path: Path) -> None:
    other = version_with_files(settings, tmp_path)
    kept(settings, answered(version, thumb=True, rated_by="ada"), answered(version, thumb=False, rated_by="bob"))
    voted(settings, version, other, "new", EVE)

    assert says(wants(settings, version, reviews=3), "reviews") == (
        True, f"3 of 3 needed: 1 thumbs up, 1 down, 1 vote, by ada, bob, {EVE.name}.",
    )  # fmt: skip
    assert not says(wants(settings, version, reviews=4), "reviews")[0]


def test_the_win_rate_counts_against_the_present_production_only(
    settings: Settings, version: Version, tmp_path: Path
) -> None:
    first, other = version_with_files(settings, tmp_path), version_with_files(settings, tmp_path)
    assert says(wants(settings, version, win_rate=0.6), "win rate")[0]  # nothing is in Production yet
    mlflow_client(settings).set_registered_model_alias("phi3", "production", str(first.version))

    assert says(wants(settings, version, win_rate=0.6), "win rate") == (
        False, f"60% needed, and no vote says that it or {first.ref} is better yet.",
    )  # fmt: skip
    for person, better in ((ADA, "new"), (BOB, "old"), (EVE, "tie")):
        voted(settings, version, first, better, person)
    for _ in range(3):
        voted(settings, version, other, "new", ADA)

    assert says(wants(settings, version, win_rate=0.5), "win rate") == (
        True, f"50.0% against {first.ref}, 50% needed: 1 won, 1 lost, 1 tie beside.",
    )  # fmt: skip
    assert not says(wants(settings, version, win_rate=0.51), "win rate")[0]
    assert says(wants(settings, first, win_rate=0.6), "win rate")[0]  # it is the present one itself


def test_the_signature_must_be_the_present_productions_but_for_defaults(
    settings: Settings, version: Version, tmp_path: Path
) -> None:
    same = version_with_files(settings, tmp_path, default=0.9)
    other = version_with_files(settings, tmp_path, question="text")
    bare = version_with_files(settings, tmp_path, question=None)
    assert says(wants(settings, version, same_signature=True), "signature")[0]
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "1")

    assert says(wants(settings, same, same_signature=True), "signature") == (True, "It is that of phi3/1.")
    met, sentence = says(wants(settings, other, same_signature=True), "signature")
    assert not met
    assert sentence.startswith("It is not that of phi3/1. “text” must be sent")
    assert not says(wants(settings, bare, same_signature=True), "signature")[0]


def test_approvals_are_counted_with_who_gave_them(settings: Settings, version: Version) -> None:
    assert says(wants(settings, version, approvals=2), "approvals") == (
        False, "2 needed, and nobody has asked for Production yet.",
    )  # fmt: skip
    asked = requests.ask(settings, version.ref, "Production", "faster", ADA)
    requests.decide(settings, asked.id, "approve", "", BOB)

    met, sentence = says(checklist(settings, version, "Production"), "approvals")
    assert (met, sentence.startswith(f"1 of 2 needed by {BOB.name}, on request {asked.id[:8]}.")) == (False, True)

    requests.decide(settings, asked.id, "approve", "", EVE)
    assert says(checklist(settings, version, "Production"), "approvals")[0]
    assert not says(wants(settings, version, "Staging", approvals=1), "approvals")[0]  # another stage, another request
    requests.decide(settings, asked.id, "reject", "it stutters", EVE)
    assert says(checklist(settings, version, "Production"), "approvals") == (
        False, f"2 needed, and {EVE.name} rejected request {asked.id[:8]}: it stutters",
    )  # fmt: skip


def test_another_approver_is_not_the_author_and_not_who_asked(settings: Settings, version: Version) -> None:
    """The version's run says that bob built it."""
    needs = {"approvals": 1, "other_approver": True}
    asked = requests.ask(settings, version.ref, "Production", "faster", ADA)
    requests.decide(settings, asked.id, "approve", "", Person("bob@EXAMPLE.org", "reviewer"))

    checks = wants(settings, version, **needs)
    assert says(checks, "approvals")[0]
    assert says(checks, "another approver") == (False, f"{BOB.name} built it, and nobody else has approved it yet.")
    with pytest.raises(Forbidden, match="asked for it yourself"):
        requests.decide(settings, asked.id, "approve", "", ADA)

    requests.decide(settings, asked.id, "approve", "", EVE)
    assert says(checklist(settings, version, "Production"), "another approver") == (
        True, f"{EVE.name} approved it, and {BOB.name} built it (run {version.run_id[:8]}).",
    )  # fmt: skip


def test_what_one_approved_for_oneself_does_not_count_once_the_policy_wants_another(
    settings: Settings, version: Version
) -> None:
    asked = requests.ask(settings, version.ref, "Production", "faster", ADA)
    requests.decide(settings, asked.id, "approve", "", ADA)  # nothing speaks against it yet

    checks = wants(settings, version, approvals=1, other_approver=True)

    assert [check.met for check in checks] == [False, False]


def test_an_unknown_author_is_nobody_else(settings: Settings, tmp_path: Path) -> None:
    unknown = version_with_files(settings, tmp_path, author="")
    asked = requests.ask(settings, unknown.ref, "Production", "faster", ADA)
    requests.decide(settings, asked.id, "approve", "", EVE)

    met, sentence = says(wants(settings, unknown, other_approver=True), "another approver")

    assert not met
    assert "Nothing tells who built" in sentence


def test_what_cannot_be_found_out_is_not_met(settings: Settings, version: Version) -> None:
    number = fakes.register(settings, "phi3", (settings.home / "nowhere").as_uri(), {tags.WRAPPER: "onnx"})
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "1")

    checks = wants(settings, reader.get_version(settings, f"phi3/{number}"), same_signature=True)

    assert not checks[0].met
    assert "can't be read" in checks[0].says


# ---------------------------------------------------------------- at the promotion


def test_what_is_not_met_blocks_a_promotion_and_an_admins_reason_is_recorded(
    settings: Settings, version: Version
) -> None:
    wants(settings, version, approvals=1, metrics=(Threshold("speed", 50),))
    releaser = Person("rob@example.org", "releaser")

    with pytest.raises(PolicyUnmet, match="approvals: 1 needed, and nobody has asked for Production yet") as refused:
        promote(settings, version.ref, "Production", "now", releaser)
    assert "metric" not in str(refused.value)  # which is met
    with pytest.raises(Forbidden, match="admin"):
        promote(settings, version.ref, "Production", "now", releaser, override="I know better")
    assert reader.get_version(settings, version.ref).stage == "None"

    done = promote(settings, version.ref, "Production", "now", ROOT, override="The other one is down.")

    record = search.get(settings, done.record)
    assert (record.override, record.user) == ("The other one is down.", ROOT.name)
    assert [(check["name"], check["met"]) for check in record.checks] == [("approvals", False), ("metric speed", True)]
    assert record.checks[1]["says"] == f"100, at least 50 needed (run {version.run_id[:8]})."
    assert record.digest == artifacts.compute_digest(settings, version)
