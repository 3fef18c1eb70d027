"""The queue: every item goes to as many reviewers as it needs, and to no more of them."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.errors import Conflict, Forbidden
from phi3core.evaluation.reviews import board, queue, votes
from phi3core.evaluation.reviews.item_state import LEASE
from phi3core.evaluation.reviews.items import items_of
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.timestamps import now_ms
from phi3core.traces import acts
from tests.support import fakes
from tests.support.judging import ADA, BOB, EVE
from tests.support.reviewing import TRIO, evaluated, judge, made

VERA = Person("vera@example.org", "viewer")


def test_three_people_judge_each_item_as_often_as_it_needs(settings: Settings) -> None:
    review = made(settings, reviews=2)

    done = {person.name: judge(settings, review, person) for person in TRIO}

    counted = Counter(turn.item.id for turns in done.values() for turn in turns)
    assert set(counted.values()) == {2}
    assert len(counted) == 3
    assert all(len({turn.item.id for turn in turns}) == len(turns) for turns in done.values())
    assert queue.find_next(settings, review, EVE) is None
    assert queue.measure(settings, review, EVE) == queue.Progress(len(done[EVE.name]), 0, 6, 6, 0)


def test_a_hundred_reservations_at_once_never_give_an_item_to_more_than_it_needs(
    store: Settings, fresh: str, tmp_path: Path
) -> None:
    review = made(store, evaluated(store, count=2, name=fresh), reviews=3)
    servers = [fakes.elsewhere(store, tmp_path / f"server-{number}") for number in range(10)]
    people = [Person(f"p{number}@example.org", "reviewer") for number in range(100)]

    with ThreadPoolExecutor(20) as workers:
        turns = list(workers.map(lambda at: queue.find_next(servers[at % 10], review, people[at]), range(100)))

    held = Counter(turn.item.id for turn in turns if turn is not None)
    assert sorted(held.values()) == [3, 3]
    states = board.board_of(store, review).states()
    assert [state.held(now_ms()) for state in states.values()] == [3, 3]
    assert all(len(state.acts) == 3 for state in states.values())


def test_two_reviewers_on_one_item_at_the_same_instant_are_both_kept(
    store: Settings, fresh: str, tmp_path: Path
) -> None:
    review = made(store, evaluated(store, count=1, name=fresh), reviews=2)
    servers = {ADA: store, BOB: fakes.elsewhere(store, tmp_path / "other")}

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(lambda person: judge(servers[person], review, person), servers))
    assert all(history.flush(one, 60) for one in servers.values())

    (state,) = board.board_of(store, review).refresh().values()
    assert {act.reviewer for act in state.counted} == {ADA.name, BOB.name}
    assert len(votes.read_judgements(store, review)) == 2


def test_what_is_not_judged_is_given_back_after_a_while(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    review = made(settings, evaluated(settings, count=1), reviews=1)
    turn = queue.find_next(settings, review, ADA)
    assert turn is not None
    assert queue.find_next(settings, review, BOB) is None
    assert queue.measure(settings, review, BOB).held == 1
    later = now_ms() + LEASE + 1000
    monkeypatch.setattr(queue, "now_ms", lambda: later)

    assert queue.find_next(settings, review, BOB) == turn
    with pytest.raises(Conflict, match="Others have voted on this one meanwhile"):
        votes.cast(settings, review, turn, ADA, {"": "first"})
    votes.cast(settings, review, turn, BOB, {"": "first"})
    assert [one.reviewer for one in votes.read_judgements(settings, review)] == [BOB.name]


def test_who_has_judged_all_is_told_of_no_item_that_others_hold(settings: Settings) -> None:
    review = made(settings, evaluated(settings, count=2), reviews=2)
    judge(settings, review, ADA)
    assert queue.find_next(settings, review, BOB) is not None

    assert queue.measure(settings, review, ADA) == queue.Progress(2, 0, 2, 4, 0)


def test_one_stops_and_goes_on_with_the_same_item(settings: Settings, tmp_path: Path) -> None:
    review = made(settings, evaluated(settings, count=5))
    first = queue.find_next(settings, review, ADA)

    assert queue.find_next(settings, review, ADA) == first
    elsewhere = fakes.elsewhere(settings, tmp_path / "other")
    assert queue.find_next(elsewhere, review, ADA) == first, "on another app server, too"
    assert queue.measure(settings, review, ADA).waiting == 5


def test_each_has_an_order_of_their_own(settings: Settings) -> None:
    review = made(settings, evaluated(settings, count=4), reviews=3)

    orders = [tuple(turn.item.id for turn in judge(settings, review, person)) for person in TRIO]

    assert len({*orders}) > 1
    assert len({frozenset(order) for order in orders}) == 1


def test_a_share_of_the_items_comes_twice_later_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_GAP", 2)
    review = made(settings, evaluated(settings, count=6), checks=0.5)

    done = judge(settings, review, ADA)

    repeated = [turn.item.id for turn in done if turn.check]
    assert 0 < len(repeated) < 6
    assert len(done) == 6 + len(repeated)
    order = [(turn.item.id, turn.check) for turn in done]
    gaps = [order.index((id, True)) - order.index((id, False)) for id in repeated]
    assert max(gaps) > 2
    assert {one.item for one in votes.read_judgements(settings, review) if one.check} == set(repeated)


def test_who_may_not_review_is_refused(settings: Settings) -> None:
    review = made(settings, reviewers=("ada@example.org", "group:team", "role:releaser"))

    with pytest.raises(Forbidden, match="needs the role reviewer"):
        queue.find_next(settings, review, VERA)
    with pytest.raises(Forbidden, match="olga@example.org, who owns it, names the reviewers"):
        queue.find_next(settings, review, BOB)
    assert queue.find_next(settings, review, Person("ADA@example.org", "reviewer"))
    assert queue.find_next(settings, review, Person("x@example.org", "reviewer", frozenset(["team"])))
    assert queue.find_next(settings, review, Person("ruth@example.org", "releaser"))
    assert not review.plan.asks(Person("vera@example.org", "viewer", frozenset(["team"])))


def test_after_the_deadline_nothing_is_given_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    review = made(settings, deadline=now_ms() + 60_000)
    assert queue.find_next(settings, review, ADA)
    monkeypatch.setattr("phi3core.evaluation.reviews.review.now_ms", lambda: review.plan.deadline + 1)

    with pytest.raises(Conflict, match="The deadline of this review has passed: olga@example.org can close it"):
        queue.find_next(settings, review, ADA)


def test_two_browsers_of_one_person_take_one_place(settings: Settings) -> None:
    review = made(settings, evaluated(settings, count=1), reviews=2)
    turn = queue.find_next(settings, review, ADA)
    assert turn is not None
    # The other browser claimed the second place at the same moment.
    acts.write_act(settings, turn.item.trace_id, acts.Act("claim", review.id, turn.item.id, ADA.name, slot=1), "x")
    votes.cast(settings, review, turn, ADA, {"": "tie"})
    board.board_of(settings, review).refresh()

    assert [turn.item.id for turn in judge(settings, review, BOB)] == [turn.item.id]
    assert queue.find_next(settings, review, EVE) is None


def test_an_item_whose_answer_was_deleted_holds_nobody_up(settings: Settings) -> None:
    review = made(settings, evaluated(settings, count=3))
    first = queue.find_next(settings, review, ADA)
    assert first is not None
    home = experiment_id(settings, tags.EVALUATIONS)
    mlflow_client(settings).delete_traces(home, trace_ids=[first.item.trace_id])

    assert len(judge(settings, review, ADA)) == 2
    assert len(judge(settings, review, BOB)) == 0


def test_a_deleted_answer_is_asked_for_once_and_counts_no_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = made(settings, evaluated(settings, count=3), reviews=2)
    gone = next(iter(items_of(settings, review).values())).trace_id
    mlflow_client(settings).delete_traces(experiment_id(settings, tags.EVALUATIONS), trace_ids=[gone])
    judge(settings, review, ADA)
    assert queue.measure(settings, review, ADA) == queue.Progress(2, 0, 2, 4, 0)
    asked: list[str] = []
    real = acts.write_act

    def write_act(settings: Settings, trace_id: str, *rest: Any) -> bool:
        asked.append(trace_id)
        return real(settings, trace_id, *rest)

    monkeypatch.setattr(acts, "write_act", write_act)
    assert len(judge(settings, review, BOB)) == 2
    assert asked
    assert gone not in asked
