"""Votes in a review: kept once, with their history, blind, and whatever becomes of the store meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from filelock import FileLock

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.chat.events import send_event
from phi3core.errors import BadInput, Conflict, Forbidden, StoreDown
from phi3core.evaluation.reviews import board, queue, sight, votes
from phi3core.evaluation.reviews.queue import Turn
from phi3core.evaluation.reviews.review import Review
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from phi3core.traces import acts, outbox, sender
from tests.support.judging import ADA, BOB
from tests.support.reviewing import evaluated, judge, made

VERA = Person("vera@example.org", "viewer")


def next_of(settings: Settings, review: Review, person: Person = ADA) -> Turn:
    turn = queue.find_next(settings, review, person)
    assert turn is not None
    return turn


def test_a_vote_is_an_assessment_on_the_answers_trace_with_its_author(settings: Settings) -> None:
    review = made(settings)
    turn = next_of(settings, review)
    shown = sight.look(review, turn, ADA)
    votes.cast(settings, review, turn, ADA, {"": "second"}, " Because. ")
    assert history.flush(settings, 60)

    (one,) = votes.read_judgements(settings, review, fresh=True)
    left, right = turn.item.answers
    chosen = left if one.value == "left" else right
    assert chosen.text == shown.texts[1]
    assert (one.left, one.right, one.comment, one.reviewer) == ("phi3/1", "phi3/2", "Because.", ADA.name)
    assert one.shown_first == ({"phi3/1", "phi3/2"} - {chosen.ref}).pop()
    kept = mlflow_client(settings).get_trace(left.trace_id).info.assessments
    (given,) = [given for given in kept if given.name == tags.JUDGEMENT]
    assert (given.source.source_type, given.source.source_id) == ("HUMAN", ADA.name)
    assert given.value == f"{chosen.ref} > {one.shown_first}"


def test_the_same_vote_twice_is_kept_once(store: Settings, fresh: str) -> None:
    review = made(store, evaluated(store, count=1, name=fresh))
    turn = next_of(store, review)
    for _ in range(2):
        votes.cast(store, review, turn, ADA, {"": "tie"})
    act = board.board_of(store, review).states()[turn.item.id].vote_of(ADA.name)
    assert act is not None
    for _ in range(2):  # as two app servers would, and a sender that died before it knew
        acts.send_act(store, acts.event_of(turn.item.trace_id, act, "x"))
    assert history.flush(store, 60)

    kept = mlflow_client(store).get_trace(turn.item.trace_id).info.assessments
    assert [given.name for given in kept].count(tags.JUDGEMENT) == 1
    with pytest.raises(Conflict, match="take your vote back first"):
        votes.cast(store, review, turn, ADA, {"": "bad"})


def test_the_last_vote_is_taken_back_and_the_history_keeps_both(settings: Settings) -> None:
    review = made(settings, evaluated(settings, count=2), reviews=1)
    first, second = judge(settings, review, ADA)

    votes.undo(settings, review, ADA)

    assert queue.find_next(settings, review, BOB) is None, "the place stays hers"
    assert next_of(settings, review) == second
    votes.cast(settings, review, second, ADA, {"": "bad"})
    assert history.flush(settings, 60)
    values = {one.item: one.value for one in votes.read_judgements(settings, review, fresh=True)}
    assert (values[second.item.id], len(values)) == ("bad", 2)
    kept = mlflow_client(settings).get_trace(second.item.trace_id).info.assessments
    judged = [(given.value, given.valid) for given in kept if given.name == tags.JUDGEMENT]
    assert len(judged) == 3
    assert [valid for value, valid in judged if ">" in str(value)] == [False]
    votes.undo(settings, review, ADA)
    votes.undo(settings, review, ADA)
    with pytest.raises(Conflict, match="no vote of yours"):
        votes.undo(settings, review, ADA)
    assert first != second


def test_a_viewer_is_refused_and_no_vote_is_one(settings: Settings) -> None:
    review = made(settings)
    turn = next_of(settings, review)

    with pytest.raises(Forbidden, match="needs the role reviewer"):
        votes.cast(settings, review, turn, VERA, {"": "first"})
    for wrong in ({"": "left"}, {"": 3}, {}, {"helpful": "first"}):
        with pytest.raises(BadInput):
            votes.cast(settings, review, turn, ADA, wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="5,000 are kept"):
        votes.cast(settings, review, turn, ADA, {"": "first"}, "x" * 5001)
    assert votes.read_judgements(settings, review) == []


def test_the_other_forms_judge_one_answer(settings: Settings) -> None:
    evaluation = evaluated(settings, count=1)
    rating = made(settings, evaluation, form="rating", criteria=("helpful", "true", "helpful"))
    turn = next_of(settings, rating)
    with pytest.raises(BadInput, match="Rate true, too"):
        votes.cast(settings, rating, turn, ADA, {"helpful": 4})
    votes.cast(settings, rating, turn, ADA, {"helpful": 4, "true": 1})
    passing = made(settings, evaluation, form="pass")
    judge(settings, passing, ADA, "fail")
    for wrong in (0, "", True, 1.0):  # all of which are false, or equal to a mark
        with pytest.raises(BadInput, match="is no choice here"):
            votes.cast(settings, rating, next_of(settings, rating), ADA, {"helpful": wrong, "true": 2})  # type: ignore[dict-item]
    text = made(settings, evaluation, form="text")
    judge(settings, text, ADA, "It is <b>so</b>.\0")

    assert [(one.criterion, one.value) for one in votes.read_judgements(settings, rating)] == [
        ("helpful", 4),
        ("true", 1),
    ]
    assert {(one.left, one.right, one.value) for one in votes.read_judgements(settings, passing)} == {
        ("phi3/1", "", "fail"),
        ("phi3/2", "", "fail"),
    }
    assert {one.value for one in votes.read_judgements(settings, text)} == {"It is <b>so</b>.\ufffd"}


def test_others_votes_are_hidden_until_ones_own_is_cast(settings: Settings) -> None:
    review = made(settings, evaluated(settings, count=1), reviews=2)
    (turn,) = judge(settings, review, BOB, "first", comment="Shorter.")
    assert sight.read_opinions(settings, review, turn.item, ADA) == []

    judge(settings, review, ADA)

    (opinion,) = sight.read_opinions(settings, review, turn.item, ADA)
    same_order = sight.in_order(review, turn.item, ADA.name) == sight.in_order(review, turn.item, BOB.name)
    assert (opinion.reviewer, opinion.comment) == (BOB.name, "Shorter.")
    assert opinion.values == {"": "first" if same_order else "second"}


def test_nothing_that_a_reviewer_is_shown_tells_whose_answer_it_is(settings: Settings) -> None:
    review = made(settings, evaluated(settings, count=8))
    shown = [sight.look(review, Turn(item, check), ADA) for item in board.items_of(settings, review).values()
             for check in (False, True)]  # fmt: skip

    assert "phi3/" not in repr(shown)
    assert len({one.key for one in shown}) == 16
    first = [one.texts[0].startswith("Version 1") for one in shown]
    assert 0 < sum(first) < 16


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether the store is away, for everything but what is in memory."""
    gone = [False]
    real = mlflow_client

    def client(asked: Settings) -> object:
        if gone[0]:
            raise StoreDown("The MLflow store does not answer.")
        return real(asked)

    for module in ("review", "items", "create"):
        monkeypatch.setattr(f"phi3core.evaluation.reviews.{module}.mlflow_client", client)
    monkeypatch.setattr("phi3core.traces.trace_search.mlflow_client", client)
    yield gone
    gone[0] = False


def test_a_vote_while_the_store_is_away_is_kept_and_sent_later(store: Settings, fresh: str, away: list[bool]) -> None:
    settings = store
    review = made(settings, evaluated(settings, count=2, name=fresh))
    turn = next_of(settings, review)
    away[0] = True

    votes.cast(settings, review, turn, ADA, {"": "first"})

    assert not history.flush(settings, 5)
    assert outbox.count_pending(settings) == 1
    assert "does not answer" in history.sending_error(settings)
    with pytest.raises(StoreDown):
        next_of(settings, review)
    away[0] = False
    sender.get_sender(settings, send_event).wake(now=True)
    assert history.flush(settings, 60)
    board._boards.clear()
    assert [one.item for one in votes.read_judgements(settings, review)] == [turn.item.id]


def test_what_waits_for_the_store_is_known_after_a_new_start(settings: Settings) -> None:
    review = made(settings, evaluated(settings, count=1))
    with FileLock(settings.locks / "outbox.lock"):  # nobody sends
        judge(settings, review, ADA)
        board._boards.clear()
        assert queue.find_next(settings, review, ADA) is None
        assert len(votes.read_judgements(settings, review)) == 1
    assert history.flush(settings, 60)


def test_votes_are_kept_also_where_conversations_are_not(settings: Settings) -> None:
    off = replace(settings, tracing=False)
    review = made(off, evaluated(settings, count=2))
    judge(off, review, ADA)
    votes.undo(off, review, ADA)
    board._boards.clear()
    outbox._memory.clear()  # as a new start does

    assert [one.reviewer for one in votes.read_judgements(off, review)] == [ADA.name]


def test_a_vote_that_comes_too_late_is_kept_and_does_not_count(settings: Settings) -> None:
    review = made(settings, evaluated(settings, count=1), reviews=1)
    (turn,) = judge(settings, review, BOB)
    assert history.flush(settings, 60)
    mine = board.board_of(settings, review).states()[turn.item.id].vote_of(BOB.name)
    assert mine is not None
    late = replace(mine, reviewer=ADA.name, values={"": "bad"}, arrived=0)
    acts.write_act(settings, turn.item.trace_id, late, "from an outbox that was without its store for a day")

    (counted,) = votes.read_judgements(settings, review, fresh=True)
    assert counted.reviewer == BOB.name
    assert board.board_of(settings, review).states()[turn.item.id].vote_of(ADA.name)


@pytest.mark.parametrize("value", ["x", "", 7, True])
def test_a_mark_that_another_program_made_up_is_no_judgement(settings: Settings, value: str | int) -> None:
    review = made(settings, form="rating", criteria=("clear",), reviews=2)
    turn = next_of(settings, review)
    votes.cast(settings, review, turn, ADA, {"clear": 4})
    forged = acts.Act("vote", review.id, turn.item.id, BOB.name, values={"clear": value}, first="phi3/1")
    assert acts.write_act(settings, turn.item.trace_id, forged, "made up")
    assert history.flush(settings, 60)

    assert [one.value for one in votes.read_judgements(settings, review, fresh=True)] == [4]
