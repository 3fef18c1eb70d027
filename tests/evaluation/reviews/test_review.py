"""Making a review: what it asks of whom, what it holds of what it is of, and what later changes do to it."""

from __future__ import annotations

import json

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, StoreError
from phi3core.evaluation import prompt_sets
from phi3core.evaluation.reviews import create, items, review
from phi3core.evaluation.reviews.plan import Plan
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.evaluation.sets import CAPITALS
from tests.support.judging import ADA, version_with_files
from tests.support.reviewing import OWNER, evaluated, forget, judge, made


def test_a_review_holds_the_digests_of_what_it_is_of(settings: Settings, tmp_path: object) -> None:
    version = version_with_files(settings, tmp_path)  # type: ignore[arg-type]
    evaluation = evaluated(settings, (version.ref, "endpoint:other"))

    found = made(settings, evaluation, reviews=2, reviewers=("ada@example.org", "bob@example.org", " "))

    assert review.search_reviews(settings) == [found] == [review.read_review(settings, found.id)]
    assert (found.by, found.items, found.state, found.intact) == (OWNER.name, 3, "open", True)
    assert found.set_digest == prompt_sets.find_set(settings, "asked").digest
    assert len(found.digests[version.ref]) == 64
    assert found.digests["endpoint:other"] == ""
    assert found.plan.reviewers == ("ada@example.org", "bob@example.org")
    kept = items.items_of(settings, found)
    assert [item.prompt for item in kept.values()] == ["i0", "i1", "i2"]
    assert all(version.ref not in id and "phi3" not in id for id in kept)


def test_pairs_are_made_of_all_versions_and_equal_answers_left_out(settings: Settings) -> None:
    evaluation = evaluated(settings, ("phi3/1", "phi3/2", "phi3/3"), count=2)
    pairs = items.items_of(settings, made(settings, evaluation)).values()
    assert len(pairs) == 6
    assert len(items.items_of(settings, made(settings, evaluation, form="pass"))) == 6
    one = next(iter(pairs)).left
    asked = list(CAPITALS)
    same = {(item.id, ref): one for item in asked for ref in ("phi3/1", "phi3/2")}
    with pytest.raises(BadInput, match="nothing to judge"):
        items.make_items("pairwise", "x", asked, ("phi3/1", "phi3/2"), same)


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Plan(" "), "Say what the review asks"),
        (Plan("?", form="duel"), "no form of a review"),  # type: ignore[arg-type]
        (Plan("?", form="rating"), "one to 8 criteria"),
        (Plan("?", reviews=0), "1 to 20 reviews"),
        (Plan("?", checks=0.9), "between 0 and 0.5"),
        (Plan("?", deadline=1), "over already"),
        (Plan("?", reviewers=("role:king",)), "no role that reviews"),
        (Plan("?", reviewers=("ada@example.org",), reviews=2), "only 1 reviewers are named"),
        (Plan("?", reviewers=tuple(f"{at}@example.org" for at in range(101))), "name a group or a role"),
    ],
)
def test_a_plan_that_makes_no_sense_is_told_why(plan: Plan, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        create.check_plan(plan, 2)


def test_what_is_not_there_or_not_complete_is_not_reviewed(settings: Settings) -> None:
    evaluation = evaluated(settings, ("phi3/1",), count=1)
    with pytest.raises(BadInput, match="at least two versions"):
        made(settings, evaluation)
    with pytest.raises(NotFound, match="no evaluation's id"):
        made(settings, "nope")
    with pytest.raises(Forbidden, match="needs the role reviewer"):
        made(settings, evaluation, Person("vera@example.org", "viewer"), form="pass")
    mlflow_client(settings).set_terminated(evaluation, "KILLED")
    with pytest.raises(Conflict, match="Answers of this evaluation are missing"):
        made(settings, evaluation, form="pass")
    with pytest.raises(NotFound, match="is no review's id"):
        review.read_review(settings, "../secrets")
    with pytest.raises(NotFound, match="is no review"):
        review.read_review(settings, evaluation)


def test_a_set_that_changes_in_mid_review_changes_nothing_in_it(settings: Settings) -> None:
    found = made(settings)
    judge(settings, found, ADA, most=1)
    prompt_sets.save_set(settings, "asked", CAPITALS)
    forget()

    judged = judge(settings, review.read_review(settings, found.id), ADA)

    assert {turn.item.messages[0]["content"] for turn in judged} < {f"Question {at}?" for at in range(3)}
    assert len(judged) == 2


def test_a_review_that_was_changed_in_the_store_is_refused(settings: Settings) -> None:
    found = made(settings)
    plan = json.loads(mlflow_client(settings).get_run(found.id).data.tags[tags.PLAN])
    mlflow_client(settings).set_tag(found.id, tags.PLAN, json.dumps(plan | {"reviews": 9}))
    forget()

    changed = review.read_review(settings, found.id)

    assert not changed.intact
    with pytest.raises(StoreError, match="it was changed in the store"):
        judge(settings, changed, ADA)


def test_what_others_wrote_among_the_reviews_breaks_no_list(settings: Settings) -> None:
    found = made(settings)
    home = experiment_id(settings, tags.REVIEWS)
    for of in ({}, {tags.SEAL: "x"}, {tags.SEAL: "x", tags.PLAN: "[]"}, {tags.SEAL: "x", tags.PLAN: '{"form": 1}'}):
        mlflow_client(settings).create_run(home, tags=of)
    known = mlflow_client(settings).get_run(found.id).data.tags
    plan = json.loads(known[tags.PLAN])
    for odd in ({"form": "odd"}, {"deadline": "x"}, {"deadline": 10**20}, {"reviews": [2]}, {"more": 1}):
        mlflow_client(settings).create_run(home, tags=known | {tags.PLAN: json.dumps(plan | odd)})
    assert review.search_reviews(settings) == [found]
