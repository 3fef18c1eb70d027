"""Closing a review: its result stays as it was, whatever is done to the store, the versions and the prompt set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, StoreDown, StoreError
from phi3core.evaluation import prompt_sets
from phi3core.evaluation.reviews import closing, queue, review, votes
from phi3core.evaluation.reviews.queue import Turn
from phi3core.promotion.delete import delete_version
from phi3core.promotion.promote import promote
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.evaluation.sets import CAPITALS
from tests.support.judging import ADA, BOB, EVE, ROOT, folder_of, version_with_files
from tests.support.reviewing import OWNER, evaluated, judge, made


def test_closing_fixes_what_was_said(store: Settings, fresh: str) -> None:
    found = made(store, evaluated(store, count=2, name=fresh), reviews=2)
    judge(store, found, ADA, comment="Clear.")
    turn = queue.find_next(store, found, BOB)
    with pytest.raises(Forbidden, match="Only olga@example.org, who owns it, and an admin"):
        closing.close(store, found, BOB)

    result = closing.close(store, found, OWNER)

    closed = review.read_review(store, found.id)
    assert (closed.state, result.by, len(result.judgements)) == ("closed", OWNER.name, 2)
    assert closing.read_result(store, closed) == result
    assert {one.comment for one in result.judgements} == {"Clear."}
    assert isinstance(turn, Turn)
    with pytest.raises(Conflict, match="is closed: its result is fixed"):
        votes.cast(store, found, turn, BOB, {"": "first"})
    with pytest.raises(Conflict, match="closed already"):
        closing.close(store, found, ROOT)


def test_what_has_no_votes_is_not_closed_and_what_is_open_has_no_result(settings: Settings) -> None:
    found = made(settings, evaluated(settings, count=1))
    with pytest.raises(BadInput, match="Nobody has voted yet"):
        closing.close(settings, found, OWNER)
    with pytest.raises(NotFound, match="not closed"):
        closing.read_result(settings, found)


def test_votes_count_until_the_files_are_read_and_none_is_taken_after(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made(settings, evaluated(settings, count=1), reviews=3)
    judge(settings, found, ADA)
    turn = queue.find_next(settings, found, EVE)
    assert turn is not None
    real = closing.version_digest

    def slowly(settings: Settings, ref: str) -> str:
        judge(settings, found, BOB)
        return real(settings, ref)

    def failing(*_: object) -> None:
        with pytest.raises(Conflict, match="is being closed"):
            votes.cast(settings, found, turn, EVE, {"": "tie"})
        raise StoreDown("The MLflow store does not answer.")

    monkeypatch.setattr(closing, "version_digest", slowly)
    with monkeypatch.context() as patch:
        patch.setattr(closing.evidence, "seal_review", failing)
        with pytest.raises(StoreDown):
            closing.close(settings, found, OWNER)
    votes.cast(settings, found, turn, EVE, {"": "tie"})  # again, where it was not closed

    result = closing.close(settings, found, OWNER)
    assert {one.reviewer for one in result.judgements} == {ADA.name, BOB.name, EVE.name}


@pytest.mark.parametrize("how", ["the tag", "the file", "the seal"])
def test_a_result_that_was_changed_is_refused(settings: Settings, how: str, tmp_path: Path) -> None:
    found = made(settings, evaluated(settings, count=1))
    judge(settings, found, ADA)
    closing.close(settings, found, OWNER)
    store, known = mlflow_client(settings), mlflow_client(settings).get_run(found.id).data.tags
    if how == "the tag":
        store.set_tag(found.id, tags.RESULT, known[tags.RESULT].replace(OWNER.name, "eve@example.org"))
    elif how == "the file":
        (name,) = [one.path for one in store.list_artifacts(found.id) if one.path.startswith("result-")]
        text = Path(store.download_artifacts(found.id, name, str(tmp_path))).read_text()
        (tmp_path / name).write_text(text.replace('"left"', '"right"').replace('"value"', '"value" '))
        store.log_artifact(found.id, str(tmp_path / name))

    key = replace(settings, record_key="a key") if how == "the seal" else settings  # it was sealed without
    with pytest.raises(StoreError, match="it was changed"):
        closing.read_result(key, review.read_review(key, found.id))


def test_what_became_of_the_versions_and_the_set_is_told(settings: Settings, tmp_path: Path) -> None:
    versions = [version_with_files(settings, tmp_path) for _ in range(4)]
    found = made(settings, evaluated(settings, tuple(version.ref for version in versions), count=1))
    judge(settings, found, ADA, most=1)
    assert closing.tell_changes(settings, found, found.digests) == []

    delete_version(settings, "phi3/1", "Old.", ROOT)
    (folder_of(versions[1]) / "weights" / "model.onnx").write_bytes(b"others!")
    promote(settings, "phi3/3", "Archived", "", ROOT)
    prompt_sets.save_set(settings, "asked", CAPITALS)

    told = closing.tell_changes(settings, found, found.digests)
    assert [sentence.split(";")[0] for sentence in told] == [
        "phi3/1 was deleted since.",
        "The files of phi3/2 changed since: what was said is of other ones.",
        "phi3/3 is archived now.",
        f"asked has a newer version, {prompt_sets.find_set(settings, 'asked').ref}",
    ]
    assert len(judge(settings, found, ADA)) == 5, "the review goes on with what was answered"
    result = closing.close(settings, found, OWNER)
    assert result.digests["phi3/2"] != found.digests["phi3/2"]
    assert closing.tell_changes(settings, found, result.digests)[1] == "phi3/3 is archived now."
