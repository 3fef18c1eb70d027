"""What a reader sees of answers before they have voted, and after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phi3core.access.roles import Person
from phi3core.evaluation.ballot import SEEN, TIE, Verdict
from phi3core.evaluation.comparison import Round
from phi3core.evaluation.hiding import in_order, look
from tests.support.judging import ADA, BOB
from tests.support.rounds import answer, round_of

VIEWER = Person("eve@example.org", "viewer")
TOLD = {"error": "phi3/2 is broken.", "note": "phi3/2 takes no seed.", "tokens_per_second": 4321.0, "memory": 98765}


def test_before_the_vote_nothing_but_the_texts_is_told() -> None:
    one, two = answer("phi3/1", "Madrid.", **TOLD), answer("phi3/2", "Rome.", **TOLD)
    round = round_of(one, two)
    sight = look(round, ADA, None)
    assert (sight.hidden, sight.pending, sight.running) == (True, True, False)
    assert [shown.name for shown in sight.answers] == ["1", "2"]
    assert {shown.text for shown in sight.answers} == {"Madrid.", "Rome."}
    told = repr(sight)
    secrets = ("phi3", "4321", "98765", one.id, two.id, *(entry.conversation for entry in round.entries))
    assert not [secret for secret in secrets if secret in told]


@pytest.mark.parametrize("verdict", [TIE, SEEN, Verdict("best", "x")])
def test_after_the_vote_all_is_told_in_the_same_places(verdict: Verdict) -> None:
    round = round_of(answer("phi3/1", "Madrid."), answer("phi3/2", "Rome."), answer("phi3/3", "Oslo."))
    before, after = look(round, ADA, None), look(round, ADA, verdict)
    assert not after.hidden
    assert [shown.text for shown in after.answers] == [shown.text for shown in before.answers]
    assert {shown.turn.ref for shown in after.answers if shown.turn} == {"phi3/1", "phi3/2", "phi3/3"}


def test_each_reader_has_an_order_of_their_own_for_each_prompt_and_keeps_it() -> None:
    rounds = [round_of(answer("phi3/1"), answer("phi3/2", "Rome.")) for _ in range(200)]
    firsts = [in_order(round, ADA)[0].turn.ref for round in rounds]
    assert firsts == [in_order(round, replace(ADA, name=ADA.name.upper()))[0].turn.ref for round in rounds]
    assert 60 < firsts.count("phi3/1") < 140
    others = [in_order(round, BOB)[0].turn.ref for round in rounds]
    assert 60 < sum(mine == theirs for mine, theirs in zip(firsts, others)) < 140


def test_the_answers_are_shown_in_that_order() -> None:
    for _ in range(20):  # by chance it is the one in which they were asked, every second time
        round = round_of(answer("phi3/1"), answer("phi3/2", "Rome."))
        for verdict in (None, TIE):
            shown = [one.text for one in look(round, ADA, verdict).answers]
            assert shown == [entry.turn.answer for entry in in_order(round, ADA)]


def texts(round: Round) -> set[str]:
    return {shown.text for shown in look(round, ADA, None).answers}


def test_all_texts_grow_at_the_pace_of_the_slowest_and_end_at_whole_words() -> None:
    slow, fast = answer("phi3/1", "", "running"), answer("phi3/2", "One two three fo", "running")
    round = round_of(slow, fast)
    assert texts(round) == {""}
    assert look(round, ADA, None).waiting
    slow.answer = "Uno do"
    assert texts(round) == {"Uno ", "One "}
    slow.answer = "Uno dos tres cuatro cin"
    assert texts(round) == {"Uno dos tres ", "One two three "}
    fast.state = "done"  # which is not told
    assert texts(round) == {"Uno dos tres cuatro ", "One two three fo"}
    slow.state = "done"
    assert texts(round) == {"Uno dos tres cuatro cin", "One two three fo"}


def test_while_they_come_it_is_not_told_which_has_ended_or_failed() -> None:
    failed, coming = answer("phi3/1", "", "failed", error="phi3/1 broke."), answer("phi3/2", "One two", "running")
    sight = look(round_of(failed, coming, answer("phi3/3", "Uno dos")), ADA, None)
    assert sorted(shown.text for shown in sight.answers) == ["", "One ", "Uno "]
    assert not any(shown.missing or shown.votable for shown in sight.answers)
    assert "broke" not in repr(sight)


def test_an_answer_that_failed_stays_nameless_where_two_others_can_be_voted_on() -> None:
    failed = answer("phi3/1", "", "failed", error="phi3/1 broke.")
    round = round_of(failed, answer("phi3/2", "Rome."), answer("phi3/3", "Oslo."))
    sight = look(round, ADA, None)
    assert [shown.votable for shown in sight.answers] == [bool(shown.text) for shown in sight.answers]
    assert [shown.missing for shown in sight.answers] == [not shown.text for shown in sight.answers]
    assert "phi3" not in repr(sight)


@pytest.mark.parametrize(
    "other",
    [
        answer("phi3/2", "Madrid."),  # the same text
        answer("phi3/1", "Rome."),  # of the same version
        answer("phi3/2", "Ro", "stopped"),
        answer("phi3/2", "", "failed", error="It broke."),
    ],
)
def test_where_there_is_nothing_to_choose_between_nothing_is_hidden(other: object) -> None:
    sight = look(round_of(answer("phi3/1"), other), ADA, None)  # type: ignore[arg-type]
    assert not sight.hidden
    assert not sight.pending


def test_those_without_a_vote_see_all_at_once() -> None:
    round = round_of(answer("phi3/1"), answer("phi3/2", "One two", "running"), open_to=ADA.name)
    for reader in (VIEWER, ADA):
        sight = look(round, reader, None)
        assert not sight.hidden
        assert [shown.text for shown in sight.answers] == ["Madrid.", "One two"]
    assert look(round, BOB, None).hidden
