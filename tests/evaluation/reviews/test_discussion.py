"""What people say about items and versions: seen by who has judged, and calling others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Forbidden
from phi3core.evaluation.reviews import closing, discussion, waiting
from phi3core.evaluation.reviews.items import items_of
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.support.judging import ADA, BOB, EVE
from tests.support.reviewing import OWNER, evaluated, judge, made


def test_comments_on_an_item_are_for_those_who_judged_it(settings: Settings) -> None:
    found = made(settings, evaluated(settings, count=1), reviews=3)
    (item,) = items_of(settings, found)
    judge(settings, found, ADA)
    discussion.comment(settings, found, item, "The first one lies. <b>", ADA)
    discussion.comment(settings, found, "phi3/2", "Slow.", OWNER)

    with pytest.raises(Forbidden, match="Judge this item first"):
        discussion.comment(settings, found, item, "Does it?", BOB)
    assert discussion.read_comments(settings, found, BOB) == []
    judge(settings, found, BOB)
    assert [one.text for one in discussion.read_comments(settings, found, BOB)] == ["The first one lies. <b>"]
    with pytest.raises(Forbidden):
        discussion.comment(settings, found, "phi3/2", "Which is it?", BOB)
    assert len(discussion.read_comments(settings, found, OWNER)) == 2
    closing.close(settings, found, OWNER)
    with pytest.raises(Forbidden, match="needs the role reviewer"):
        discussion.comment(settings, found, "", "Hm.", Person("vera@example.org", "viewer"))


def test_what_is_no_comment_is_refused(settings: Settings) -> None:
    found = made(settings, evaluated(settings, count=1))
    for about, text in (("", " "), ("", "x" * 2001), ("phi3/9", "x")):
        with pytest.raises(BadInput):
            discussion.comment(settings, found, about, text, OWNER)
    mlflow_client(settings).set_tag(found.id, f"{tags.COMMENT}1.x", "[]")
    assert discussion.read_comments(settings, found, OWNER) == []


def test_two_comments_at_once_are_both_kept(settings: Settings) -> None:
    found = made(settings, evaluated(settings, count=1))
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(lambda text: discussion.comment(settings, found, "", text, OWNER), "abcd"))
    assert {one.text for one in discussion.read_comments(settings, found, OWNER)} == set("abcd")


def test_home_is_told_what_waits_and_who_calls(settings: Settings) -> None:
    found = made(settings, evaluated(settings, count=2), reviews=3, reviewers=(ADA.name, BOB.name, EVE.name))
    made(settings, evaluated(settings, count=1, name="other"), reviewers=(BOB.name,))
    judge(settings, found, ADA, most=1)
    discussion.comment(settings, found, "", f"@{ADA.name}: look. Write to x@bob.example.org", OWNER)
    discussion.comment(settings, found, "", "And @ADA, once more.", OWNER)

    told = waiting.read_waiting(settings, ADA)
    assert [(one.id, progress.done, progress.waiting) for one, progress in told.reviews] == [(found.id, 1, 1)]
    assert [one.text[:4] for _, one in told.calls] == ["And ", "@ada"]
    assert waiting.read_waiting(settings, BOB).calls == ()
    discussion.comment(settings, found, "", "I did.", ADA)
    judge(settings, found, ADA)
    assert waiting.read_waiting(settings, ADA) == waiting.Waiting()
    assert waiting.read_waiting(settings, Person("vera@example.org", "viewer")) == waiting.Waiting()


def test_reviews_in_which_nothing_waits_hide_none_in_which_something_does(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_MOST", 1)
    older = made(settings, evaluated(settings, count=1))
    judge(settings, made(settings, evaluated(settings, count=1, name="newer")), ADA)

    assert [one.id for one, _ in waiting.read_waiting(settings, ADA).reviews] == [older.id]
