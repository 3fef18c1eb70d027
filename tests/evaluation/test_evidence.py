"""What an evaluation and a closed review leave for a promotion's policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from phi3core.errors import PolicyUnmet
from phi3core.evaluation import evidence as sealing
from phi3core.evaluation import prompt_sets
from phi3core.evaluation.evaluate import evaluate
from phi3core.evaluation.results import Evaluation
from phi3core.evaluation.reviews import closing, queue
from phi3core.evaluation.reviews import votes as voting
from phi3core.evaluation.reviews.plan import Plan
from phi3core.evaluation.reviews.review import Review
from phi3core.evaluation.reviews.sight import in_order
from phi3core.promotion.policy import evidence, policy
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from phi3core.promotion.record import history, search
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.app.servers import FakePool
from tests.evaluation.analysis.votes import vote
from tests.evaluation.sets import CAPITALS
from tests.promotion.helpers import ADA as RELEASER
from tests.support import fakes, reviewing
from tests.support.judging import BOB, ROOT, folder_of, version_with_files
from tests.support.reviewing import OWNER, TRIO, evaluated, made


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    reviewing.forget()
    yield
    reviewing.forget()


@pytest.fixture
def two(settings: Settings, tmp_path: Path) -> list[Version]:
    return [version_with_files(settings, tmp_path), version_with_files(settings, tmp_path)]


@pytest.fixture
def pool() -> Iterator[FakePool]:
    words = {"phi3/1": "Madrid it is.", "phi3/2": "Rome."}
    pool = FakePool(lambda ref: fakes.FakeEngine(tuple(f"{word} " for word in words[ref].split(" "))))
    yield pool
    pool.close()


def run(settings: Settings, pool: FakePool) -> Evaluation:
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    one_by_one = replace(settings, parallel=1)
    return evaluate(one_by_one, pool, "capitals", ("phi3/1", "phi3/2"), {"temperature": 0}, BOB)  # type: ignore[arg-type]


def shown(settings: Settings, version: Version) -> list[evidence.EvaluationEvidence]:
    return [found for _, found in evidence.evaluations(settings, version, history.unread("phi3"))]


def test_a_complete_evaluation_is_evidence_of_each_of_its_versions_once(
    settings: Settings, pool: FakePool, two: list[Version]
) -> None:
    found = run(settings, pool)
    run(settings, pool)  # nothing is new

    (first,), (second,) = (shown(settings, version) for version in two)
    whole = prompt_sets.find_set(settings, "capitals")
    assert (first.run, first.items) == (found.run.run_id, 3)
    assert (first.prompt_set, first.options) == (f"capitals@{whole.digest}", "temperature 0")
    assert first.means["contains"].value == 0.5
    assert [one.other.ref for one in second.against] == ["phi3/1"]
    assert second.against[0].changes["contains"].model_dump() == {"better": 0, "worse": 1, "p": 1.0, "lower": False}
    record = search.page(settings, action="evaluate", version=2).records[0]
    assert (record.user, record.says) == (BOB.name, f"phi3/2: evaluate {whole.ref}")
    assert record.outcome.startswith("contains 0")


def test_a_version_whose_files_change_while_it_answers_has_no_evidence(
    settings: Settings, pool: FakePool, two: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sealing.seal_evaluation

    def changed(*args: object) -> object:
        (folder_of(two[1]) / "weights" / "model.onnx").write_bytes(b"other weights")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(sealing, "seal_evaluation", changed)
    run(settings, pool)

    assert [one.against for one in shown(settings, two[0])] == [[]]
    assert shown(settings, two[1]) == []


def test_a_closed_review_is_evidence_of_the_files_that_answered(
    settings: Settings, pool: FakePool, two: list[Version]
) -> None:
    refs = ("phi3/1", "phi3/2")
    made = run(settings, pool).run
    review = Review(
        "c" * 32, Plan("Is 1 fit?"), BOB.name, 0, made.run_id, made.prompt_set, "d" * 64, refs,
        sealing.read_digests(settings, refs), 8, "", True, True,
    )  # fmt: skip
    votes = [vote(f"i{at}", who, "left", *refs) for at in range(8) for who in ("ann", "ben")]
    votes += [vote("i0", "cy", "tie", *refs)]

    sealing.seal_review(settings, BOB, review, votes)

    ((record, found),) = evidence.reviews(settings, two[0], history.unread("phi3"))
    assert (found.review, found.people, found.items, found.prompt_set) == (review.id, 3, 8, f"capitals@{'d' * 64}")
    assert found.against[0].rate.value == pytest.approx(16.5 / 17)
    assert 0.6 < found.against[0].rate.low < 0.9
    assert found.agreement is not None
    assert (record.reason, record.says) == ("Is 1 fit?", "phi3/1: review against phi3/2")

    (folder_of(two[1]) / "weights" / "model.onnx").write_bytes(b"other weights")
    assert sealing.seal_review(settings, BOB, review, votes) == []  # nothing is left that it was compared with
    later = replace(review, digests=sealing.read_digests(settings, refs))
    assert sealing.seal_review(settings, BOB, later, votes) == []  # it was changed after it had answered
    assert sealing.seal_review(settings, BOB, replace(review, intact=False), votes) == []


def test_closing_a_review_lets_the_winner_into_production_and_not_the_loser(
    settings: Settings, two: list[Version]
) -> None:
    run_id = evaluated(settings, count=6)
    found = made(settings, run_id, reviews=3)
    for person in TRIO:
        while (turn := queue.find_next(settings, found, person)) is not None:
            first = in_order(found, turn.item, person.name)[0].ref
            voting.cast(settings, found, turn, person, {"": "first" if first == "phi3/2" else "second"})
    promote(settings, "phi3/1", "Production", person=ROOT)
    policy.write(settings, "phi3", "Production", Policy(review_win_rate=0.5, agreement=0.6), ROOT)
    with pytest.raises(PolicyUnmet, match="no closed review against phi3/1"):
        promote(settings, "phi3/2", "Production", person=RELEASER)

    closing.close(settings, found, OWNER)

    done = promote(settings, "phi3/2", "Production", person=RELEASER)
    assert [line["met"] for line in search.get(settings, done.record).checks] == [True, True]
    with pytest.raises(PolicyUnmet, match=r"0.0% against phi3/2 \(0.0% to"):
        promote(settings, "phi3/1", "Production", person=RELEASER)


def test_what_a_judge_said_is_in_no_record(settings: Settings, pool: FakePool, two: list[Version]) -> None:
    found = run(settings, pool)
    judged = [replace(one, scores={**one.scores, "criteria": one.ref == "phi3/1"}) for one in found.answers]

    sealing.seal_evaluation(settings, BOB, Evaluation(found.run, tuple(judged)), "capitals@x", {})

    newest = shown(settings, two[0])[0]
    assert newest.prompt_set == "capitals@x"
    assert newest.means.keys() & {"contains", "criteria"} == {"contains"}
    assert "criteria" not in newest.against[0].changes
