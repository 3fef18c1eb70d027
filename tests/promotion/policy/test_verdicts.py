"""The criteria that reviews and evaluations answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phi3core import tags
from phi3core.errors import BadInput, PolicyUnmet
from phi3core.promotion.policy import evidence, policy
from phi3core.promotion.policy.evidence import Change, Compared, Estimate, EvaluationEvidence, ReviewEvidence, Won
from phi3core.promotion.policy.policy import Policy, ScoreLimit
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search
from phi3core.promotion.record.model import Record
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.helpers import ADA
from tests.promotion.policy.helpers import made_up, says, wants
from tests.support.judging import BOB, ROOT, folder_of, version_with_files

SET = f"everyday@{'a' * 64}"
ID = "e" * 32


@pytest.fixture
def production(settings: Settings, version: Version, tmp_path: Path) -> Version:
    """Another version, which is in Production."""
    other = version_with_files(settings, tmp_path)
    mlflow_client(settings).set_registered_model_alias("phi3", "production", str(other.version))
    return other


def judged(settings: Settings, version: Version) -> evidence.Judged:
    return evidence.judged(version, artifacts.read_state(settings, version))


def reviewed(settings: Settings, version: Version, other: Version, low: float, agreement: float | None = 0.7) -> Record:
    state = artifacts.read_state(settings, version)
    won = Won(other=judged(settings, other), rate=Estimate(value=0.7, low=low, high=0.8))
    found = ReviewEvidence(
        review=ID, prompt_set=SET, people=3, items=40, own=judged(settings, version), against=[won], agreement=agreement
    )
    return evidence.record_review(settings, BOB, version, state, found, "Is it fit?", "70 %")


def evaluated(settings: Settings, version: Version, *others: Version, mean: float = 0.9, **lower: bool) -> Record:
    state = artifacts.read_state(settings, version)
    changes = {name: Change(better=1, worse=9 if low else 2, p=0.02, lower=low) for name, low in lower.items()}
    found = EvaluationEvidence(
        run=ID, prompt_set=SET, items=40, options="temperature 0", own=judged(settings, version),
        means={"contains": Estimate(value=mean, low=0.8, high=0.95)},
        against=[Compared(other=judged(settings, other), changes=changes) for other in others],
    )  # fmt: skip
    return evidence.record_evaluation(settings, BOB, version, state, found, "contains 0.9")


def test_a_review_counts_by_the_lower_end_of_its_interval(
    settings: Settings, version: Version, production: Version
) -> None:
    asked: dict[str, Any] = {"review_win_rate": 0.55, "agreement": 0.6}
    assert says(wants(settings, version, **asked), "review") == (
        False, f"At least 55% for certain against {production.ref} needed, and no closed review against "
        f"{production.ref} tells it.",
    )  # fmt: skip

    record = reviewed(settings, version, production, low=0.56)
    checks = wants(settings, version, **asked)

    where = f"(record {record.id[:8]} of {record.started:%Y-%m-%d})."
    assert says(checks, "review") == (
        True, f"70.0% against {production.ref} (56.0% to 80.0%), at least 55% for certain needed: 40 items by 3 people "
        f"{where}",
    )  # fmt: skip
    assert says(checks, "agreement") == (True, f"0.70 of those who reviewed it, 0.60 needed {where}")
    assert {check.source for check in checks} == {evidence.source_of(record)} == {f"review {ID}"}
    assert not says(wants(settings, version, review_win_rate=0.57), "review")[0]
    assert not says(wants(settings, version, agreement=0.71), "agreement")[0]


def test_the_newest_review_counts_and_not_the_best(settings: Settings, version: Version, production: Version) -> None:
    reviewed(settings, version, production, low=0.6, agreement=0.9)
    reviewed(settings, version, production, low=0.4, agreement=None)

    checks = wants(settings, version, review_win_rate=0.5, agreement=0.5)

    assert [check.met for check in checks] == [False, False]
    assert "no item was judged by two people" in says(checks, "agreement")[1]


def test_where_nothing_else_is_in_production_there_is_nothing_to_win_against(
    settings: Settings, version: Version
) -> None:
    checks = wants(settings, version, review_win_rate=0.55, agreement=0.6, no_regression=(SET,))

    assert {(check.met, check.says) for check in checks} == {
        (True, "There is no other version in Production to compare it with.")
    }


def test_evidence_of_other_files_counts_no_more_whichever_side_was_changed(
    settings: Settings, version: Version, production: Version
) -> None:
    reviewed(settings, version, production, low=0.6)
    evaluated(settings, version, production, contains=False)
    asked: dict[str, Any] = {
        "review_win_rate": 0.5, "no_regression": (SET,), "scores": (ScoreLimit(SET, "contains", 0.5),),
    }  # fmt: skip
    assert all(check.met for check in wants(settings, version, **asked))

    (folder_of(production) / "weights" / "model.onnx").write_bytes(b"better weights")
    changed = wants(settings, version, **asked)
    assert [check.met for check in changed] == [False, False, True]  # a score of its own is not against Production
    assert f"those of {production.ref} were changed since" in says(changed, "review")[1]
    (folder_of(production) / "weights" / "model.onnx").write_bytes(b"weights")
    (folder_of(version) / "weights" / "model.onnx").write_bytes(b"other weights")
    changed = wants(settings, version, **asked)
    assert [check.met for check in changed] == [False, False, False]
    assert all(f"those of {version.ref} were changed since" in check.says for check in changed)
    evaluated(settings, version, production, contains=False)
    assert [check.met for check in wants(settings, version, **asked)] == [False, True, True]


def test_a_scorer_that_is_surely_lower_is_a_regression(
    settings: Settings, version: Version, production: Version
) -> None:
    name = f"no regression on everyday@{'a' * 12}"
    assert "no complete evaluation of it" in says(wants(settings, version, no_regression=(SET,)), name)[1]
    evaluated(settings, version)  # without the one in Production
    assert not says(wants(settings, version, no_regression=(SET,)), name)[0]
    evaluated(settings, version, production)
    assert "no expectation was compared" in says(wants(settings, version, no_regression=(SET,)), name)[1]

    record = evaluated(settings, version, production, contains=True, exact=False)
    met, told = says(wants(settings, version, no_regression=(SET,)), name)
    assert not met
    assert told == (
        "contains surely lower: contains better on 1, worse on 9 (p 0.02); exact better on 1, worse on 2 (p 0.02), "
        f"against {production.ref} (temperature 0) (record {record.id[:8]} of {record.started:%Y-%m-%d})."
    )
    evaluated(settings, version, production, contains=False)
    assert says(wants(settings, version, no_regression=(SET,)), name)[0]


def test_a_least_score_is_held_against_the_mean_on_just_these_items(settings: Settings, version: Version) -> None:
    evaluated(settings, version)
    others = f"everyday@{'b' * 64}"

    checks = wants(
        settings, version,
        scores=(ScoreLimit(SET, "contains", 0.9), ScoreLimit(SET, "exact", 0.1), ScoreLimit(others, "contains", 0)),
    )  # fmt: skip

    assert [check.met for check in checks] == [True, False, False]
    assert checks[0].says.startswith("0.9 (0.8 to 0.95), at least 0.9 needed (temperature 0)")
    assert "exact says nothing of an item of it" in checks[1].says
    assert "no complete evaluation of it on everyday@bbbbbbbbbbbb" in checks[2].says


def test_what_somebody_wrote_to_the_store_is_no_evidence(settings: Settings, version: Version, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"scores": (ScoreLimit(SET, "contains", 0.8),)}
    real = evaluated(settings, version, mean=0.5)
    good = real.evidence.replace('"value":0.5', '"value":0.99')
    assert good != real.evidence
    for key in (None, "guessed"):
        made_up(
            settings, key,
            **{tags.ACTION: "evaluate", tags.EVIDENCE: good, tags.DIGEST: real.digest, tags.TO: ""},
        )  # fmt: skip
    mlflow_client(settings).set_model_version_tag("phi3", "1", tags.EVIDENCE, good)
    assert not wants(settings, version, **asked)[0].met

    mlflow_client(settings).set_tag(real.id, tags.EVIDENCE, good)
    assert not search.get(settings, real.id).intact
    checks = wants(settings, version, **asked)
    assert "no complete evaluation" in checks[0].says


def test_evidence_that_is_added_to_a_record_without_any_breaks_its_seal(settings: Settings, version: Version) -> None:
    policy.write(settings, "phi3", "Staging", Policy(approvals=1), ROOT)
    record = search.of_model(settings, "phi3")[0]
    assert (record.intact, evidence.source_of(record)) == (True, "")

    mlflow_client(settings).set_tag(record.id, tags.EVIDENCE, "{}")

    assert not search.get(settings, record.id).intact


def test_a_promotion_keeps_the_line_and_what_it_rests_on(
    settings: Settings, version: Version, production: Version
) -> None:
    policy.write(settings, "phi3", "Production", Policy(review_win_rate=0.55), ROOT)
    with pytest.raises(PolicyUnmet, match="no closed review"):
        promote(settings, version.ref, "Production", person=ADA)
    reviewed(settings, version, production, low=0.56)

    done = promote(settings, version.ref, "Production", person=ADA)

    line = search.get(settings, done.record).checks[0]
    assert (line["name"], line["met"], line["source"]) == ("review", True, f"review {ID}")


def test_a_policy_names_its_prompt_sets_with_their_whole_digest(settings: Settings, version: Version) -> None:
    with pytest.raises(BadInput, match="names no version of a prompt set"):
        policy.write(settings, "phi3", "Production", Policy(no_regression=("everyday",)), ROOT)
    with pytest.raises(BadInput, match=r"named twice"):
        policy.write(settings, "phi3", "Production", Policy(no_regression=(SET, SET)), ROOT)
    with pytest.raises(BadInput, match="from 0 to 1"):
        policy.write(settings, "phi3", "Production", Policy(agreement=70), ROOT)
    wanted = Policy(no_regression=(SET,), scores=(ScoreLimit(SET, "contains", 0.8),), review_win_rate=0.5)

    policy.write(settings, "phi3", "Production", wanted, ROOT)

    assert policy.read(settings, "phi3")["Production"] == wanted
    assert policy.words(wanted) == (
        f"a review won against Production with at least 0.5 for certain, no regression on {SET}, "
        f"contains at least 0.8 on {SET}"
    )
