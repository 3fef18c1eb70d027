"""Each criterion of a policy, with the evidence that is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import Forbidden
from phi3core.promotion.policy import requests
from phi3core.promotion.policy.checks import checklist
from phi3core.promotion.policy.policy import Threshold
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.policy.helpers import says, wants
from tests.support import fakes
from tests.support.judging import ADA, BOB, EVE, answered, kept, version_with_files, voted


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
        True, f"3 of 3 people needed: 1 thumbs up, 1 down, 1 vote, by ada, bob, {EVE.name}.",
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
