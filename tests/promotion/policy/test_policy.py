"""How a policy is set, read and held against what was recorded."""

from __future__ import annotations

import dataclasses
import json
import threading
import time

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Forbidden, NotFound, PolicyUnmet
from phi3core.promotion.policy import policy
from phi3core.promotion.policy.checks import checklist
from phi3core.promotion.policy.policy import Policy, Threshold
from phi3core.promotion.promote import promote
from phi3core.promotion.record import seal, search
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.promotion.policy.helpers import says, wants
from tests.support.judging import ROOT


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
        if key:  # a plain seal can be computed without it
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
