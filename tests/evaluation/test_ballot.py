"""Votes on a comparison: one of each reader on each round, on true pairs, whatever becomes of the store."""

from __future__ import annotations

from dataclasses import replace

import pytest
from filelock import FileLock

from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.chat.events import send_event
from phi3core.errors import BadInput, Conflict, Forbidden, StoreDown
from phi3core.evaluation import ballot
from phi3core.evaluation.ballot import BAD, SEEN, TIE, Verdict, Votes
from phi3core.evaluation.comparison import Round
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from phi3core.traces import feedback, outbox, votes
from phi3core.traces.votes import Score
from tests.support.judging import ADA, BOB
from tests.support.rounds import answer, round_of, save


def two(versions: list[Version]) -> Round:
    return round_of(answer(versions[0].ref, "Madrid."), answer(versions[1].ref, "Rome."))


def best(round: Round, at: int) -> Verdict:
    return Verdict("best", round.entries[at].turn.id)


def read(settings: Settings, round: Round, person: Person = ADA) -> Votes:
    """As `ballot.read` does."""
    found: dict = {}
    for entry in round.entries[1:]:
        found |= history.read_votes(settings, entry.conversation, person.name)
    return found


def score(settings: Settings, versions: list[Version], one: int, other: int) -> Score:
    return feedback.read_reviews(settings, versions[one - 1]).against(versions[other - 1])


def assessments(settings: Settings, round: Round) -> list:
    """All of them on the answers of a round, overridden ones too."""
    store = mlflow_client(settings)
    return [given for entry in round.entries for given in store.get_trace(entry.turn.trace_id).info.assessments]


@pytest.mark.parametrize(("at", "expected"), [(0, Score(won=1)), (1, Score(lost=1))], ids=["the first", "the second"])
def test_a_vote_is_an_assessment_with_its_author_and_comment_and_counts_for_the_version(
    settings: Settings, versions: list[Version], at: int, expected: Score
) -> None:
    round = save(settings, two(versions))
    cast = ballot.cast(settings, round, best(round, at), ADA, " Shorter. ")
    assert history.flush(settings)
    assert score(settings, versions, 1, 2) == expected
    (given,) = assessments(settings, round)
    assert (given.source.source_id, given.rationale) == (ADA.name, "Shorter.")
    assert read(settings, round) == cast
    assert ballot.verdict_of(round, cast) == best(round, at)


def test_the_best_of_four_is_better_than_each_other_and_nothing_is_said_of_those(
    settings: Settings, versions: list[Version]
) -> None:
    round = save(settings, round_of(*(answer(v.ref, f"It is {v.version}.") for v in versions)))
    ballot.cast(settings, round, best(round, 2), ADA)
    assert history.flush(settings)
    assert [score(settings, versions, 3, other) for other in (1, 2, 4)] == [Score(won=1)] * 3
    assert score(settings, versions, 1, 2) == Score()
    assert ballot.verdict_of(round, read(settings, round)) == best(round, 2)


def test_ties_and_two_bad_answers_are_told_apart(settings: Settings, versions: list[Version]) -> None:
    for verdict in (TIE, BAD, BAD):
        ballot.cast(settings, save(settings, two(versions)), verdict, ADA)
    assert history.flush(settings)
    found = score(settings, versions, 1, 2)
    assert (found, found.rate) == (Score(ties=1, bad=2), None)


def test_a_vote_that_is_sent_twice_is_kept_once(settings: Settings, versions: list[Version]) -> None:
    round = save(settings, two(versions))
    with FileLock(settings.locks / "outbox.lock"):  # nothing is sent meanwhile
        ballot.cast(settings, round, best(round, 0), ADA)
        ballot.cast(settings, round, best(round, 0), replace(ADA, name="ADA@example.org"))
        (event,) = outbox.pending_events(settings)
    assert history.flush(settings)
    for better in ("old", "new"):  # from a tab or a machine that did not know of the first
        send_event(settings, event | {"better": better}, True)
    (given,) = assessments(settings, round)
    assert given.value == "phi3/1 > phi3/2"


def test_the_store_itself_keeps_one_of_two_that_are_sent_at_the_same_instant(
    settings: Settings, versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    round = save(settings, two(versions))
    with FileLock(settings.locks / "outbox.lock"):
        ballot.cast(settings, round, best(round, 0), ADA)
        (event,) = outbox.pending_events(settings)
    assert history.flush(settings)
    monkeypatch.setattr(votes, "votes_of", lambda info: [])  # both looked before either had written
    send_event(settings, event, True)
    assert len(assessments(settings, round)) == 1


def test_the_first_vote_stands(settings: Settings, versions: list[Version]) -> None:
    round = save(settings, two(versions))
    ballot.cast(settings, round, best(round, 0), ADA)
    for verdict in (best(round, 1), TIE):
        with pytest.raises(Conflict, match="first vote stands"):
            ballot.cast(settings, round, verdict, ADA)
    ballot.cast(settings, round, best(round, 1), BOB)
    assert history.flush(settings)
    assert score(settings, versions, 1, 2) == Score(won=1, lost=1)
    with pytest.raises(Conflict):
        ballot.cast(settings, round, best(round, 1), ADA)


def test_who_looks_has_no_vote_and_one_that_was_cast_is_taken_back(settings: Settings, versions: list[Version]) -> None:
    looked, voted = (save(settings, two(versions)) for _ in range(2))
    ballot.cast(settings, voted, best(voted, 0), ADA)
    for round in (looked, voted):
        assert ballot.verdict_of(round, ballot.reveal(settings, round, ADA)) == SEEN
        with pytest.raises(Conflict):
            ballot.cast(settings, round, best(round, 0), ADA)
    assert history.flush(settings)
    assert feedback.read_reviews(settings, versions[0]).given == 0
    assert feedback.count_reviews(settings) == {}
    assert [ballot.verdict_of(round, read(settings, round)) for round in (looked, voted)] == [SEEN, SEEN]
    assert len(assessments(settings, voted)) == 2  # its history is kept


def test_a_vote_waits_for_a_store_that_is_away_and_is_known_meanwhile(
    settings: Settings, versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreDown("The store does not answer.")

    with monkeypatch.context() as patch, FileLock(settings.locks / "outbox.lock"):
        patch.setattr(votes, "read_votes", away)
        round = save(settings, two(versions), flush=False)
        ballot.cast(settings, round, best(round, 1), ADA)
        with pytest.raises(Conflict):
            ballot.cast(settings, round, TIE, ADA)
    assert history.flush(settings)
    assert score(settings, versions, 2, 1) == Score(won=1)


def test_votes_are_for_reviewers_who_do_not_know_whose_the_answers_are(
    settings: Settings, versions: list[Version]
) -> None:
    round = two(versions)
    for act in (lambda who: ballot.cast(settings, round, TIE, who), lambda who: ballot.reveal(settings, round, who)):
        with pytest.raises(Forbidden, match="reviewer"):
            act(Person("eve", "viewer"))
    with pytest.raises(BadInput, match="chose to see"):
        ballot.cast(settings, replace(round, open_to=ADA.name.upper()), TIE, ADA)
    assert outbox.pending_events(settings) == []


def test_there_must_be_something_to_choose_between(settings: Settings, versions: list[Version]) -> None:
    for other, error in (
        (answer(versions[1].ref, "Madrid."), "two different answers"),
        (answer(versions[0].ref, "Rome."), "two different answers"),
        (answer(versions[1].ref, ""), "two different answers"),
        (answer(versions[1].ref, "Ro", "stopped"), "two different answers"),
        (answer(versions[1].ref, "Ro", "running"), "still coming"),
    ):
        with pytest.raises(BadInput, match=error):
            ballot.cast(settings, round_of(answer(versions[0].ref), other), TIE, ADA)
    with pytest.raises(BadInput, match="nothing to choose"):
        ballot.cast(settings, two(versions), Verdict("best", "0" * 32), ADA)


def test_hostile_answers_and_comments_are_kept_as_they_are(settings: Settings, versions: list[Version]) -> None:
    nasty = "</td><script>\x00 ' \\ \ud800 {{x}}"
    round = save(
        settings, round_of(answer(versions[0].ref, nasty.encode("utf-8", "replace").decode()), answer(versions[1].ref))
    )
    ballot.cast(settings, round, best(round, 0), replace(ADA, name="a'd\\a%_\"<b>"), nasty)
    assert history.flush(settings)
    assert score(settings, versions, 1, 2) == Score(won=1)
