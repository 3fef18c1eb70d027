"""What people say about a version, as it is kept and counted."""

from __future__ import annotations

import uuid

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.chat.replay import AnswerPair
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from phi3core.traces import feedback, trace_search, votes
from phi3core.traces.votes import Score
from tests.support import fakes
from tests.support.judging import ADA, BOB, answered, kept, talk_of, vote, voted


def versions(settings: Settings, count: int, name: str = "phi3") -> list[Version]:
    made = [fakes.register(settings, name, logged(settings)) for _ in range(count)]
    return [reader.get_version(settings, f"{name}/{number}") for number in made]


def logged(settings: Settings) -> str:
    """The URI of a logged model without files."""
    return f"models:/{mlflow_client(settings).create_logged_model('0').model_id}"


# ---------------------------------------------------------------- thumbs


def test_thumbs_and_comments_are_counted_with_the_conversations_they_were_given_in(settings: Settings) -> None:
    one, two = versions(settings, 2)
    up = answered(one, thumb=True, comment="Right.", rated_by="ada")
    down = answered(one, thumb=False, rated_by="bob")
    first = kept(settings, up, down, answered(one))
    kept(settings, answered(one))
    kept(settings, answered(two, thumb=True, rated_by="ada"))

    found = feedback.read_reviews(settings, one)

    assert (found.up, found.down, found.conversations, found.given) == (1, 1, 2, 2)
    assert [(c.user, c.text, c.up, c.conversation) for c in found.comments] == [("ada", "Right.", True, first)]
    assert found.people == ("ada", "bob")
    assert found.latest_conversations[-1].conversation == first
    assert len({talk.conversation for talk in found.latest_conversations}) == 2
    assert {talk.question for talk in found.latest_conversations} == {up.question}
    judged = feedback.read_reviews(settings, one, conversations=False)
    assert (judged.up, judged.down, judged.comments) == (found.up, found.down, found.comments)


def test_a_conversation_that_was_renamed_has_its_name_among_the_reviews_at_once(settings: Settings) -> None:
    (one,) = versions(settings, 1)
    named, other = kept(settings, answered(one)), kept(settings, answered(one))

    history.rename(settings, named, "Capitals")
    before = feedback.read_reviews(settings, one).latest_conversations
    assert history.flush(settings, 60)
    after = feedback.read_reviews(settings, one).latest_conversations

    assert before == after
    assert {talk.conversation: talk.title for talk in after} == {named: "Capitals", other: ""}


def test_what_a_judge_or_a_script_says_does_not_count(settings: Settings) -> None:
    from mlflow.entities import AssessmentSource, Feedback

    (one,) = versions(settings, 1)
    turn = answered(one)
    kept(settings, turn)
    for kind in ("LLM_JUDGE", "CODE"):
        source = AssessmentSource(source_type=kind, source_id="gpt")
        trace_search.tracing_client(settings).log_assessment(
            turn.trace_id, Feedback(name=tags.THUMB, value=True, source=source)
        )
        told = {tags.BETTER: "new", tags.NEW: one.ref, tags.OLD: "phi3/9", tags.OLD_TURN: "0" * 32}
        given = Feedback(name=tags.VOTE, value=f"{one.ref} > phi3/9", source=source, metadata=told)
        trace_search.tracing_client(settings).log_assessment(turn.trace_id, given)

    found = feedback.read_reviews(settings, one)

    assert (found.given, found.conversations) == (0, 1)


def test_a_thumb_that_was_changed_counts_as_it_is_now_and_one_taken_back_not_at_all(settings: Settings) -> None:
    (one,) = versions(settings, 1)
    changed, gone = (answered(one, thumb=True, rated_by="ada") for _ in range(2))
    id = kept(settings, changed, gone)
    changed.thumb, gone.thumb = False, None
    for turn in (changed, gone):
        history.rate(settings, id, turn)
    history.flush(settings)

    found = feedback.read_reviews(settings, one)

    assert (found.up, found.down) == (0, 1)


def test_a_model_made_again_under_the_name_of_a_deleted_one_starts_without_reviews(settings: Settings) -> None:
    (old,) = versions(settings, 1)
    kept(settings, answered(old, thumb=True, rated_by="ada"))
    mlflow_client(settings).delete_registered_model("phi3")
    fakes.register(settings, "phi3", logged(settings))
    new = reader.get_version(settings, "phi3/1")

    assert feedback.read_reviews(settings, new).given == 0
    assert feedback.read_reviews(settings, new).conversations == 0
    assert feedback.read_reviews(settings, old).given == 1


def test_reviews_are_found_whatever_the_model_is_called(settings: Settings) -> None:
    for name in ("it's", "a b", "a@b", "Φ", 'a"b', "100%", "a_b", "x" * 260):
        mine, other = answered(f"{name}/1", thumb=True, rated_by="ada"), answered("other/1", thumb=True, rated_by="ada")
        pair = AnswerPair(answered(f"{name}/1", "Paris."), answered(f"{name}/2"))
        id = kept(settings, mine, other, pair.old, pair.new)
        vote(settings, id, pair, "new", ADA)
        history.flush(settings)
        one, two = (named(name, number) for number in (1, 2))

        assert feedback.read_reviews(settings, one).up == 1, name
        assert feedback.read_reviews(settings, one).score == Score(lost=1), name
        assert feedback.read_reviews(settings, two).against(one) == Score(won=1), name


def named(name: str, number: int) -> Version:
    from datetime import UTC, datetime

    return Version(name, number, "None", (), "", {}, datetime.now(UTC), "", "", "READY", {})


def test_reviews_take_the_same_few_calls_however_many_answers_were_judged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = versions(settings, 2)
    kept(settings, *(answered(one, thumb=True, rated_by="ada") for _ in range(30)), answered(two))
    counting = fakes.CountingClient(mlflow_client(settings))
    monkeypatch.setattr(trace_search, "mlflow_client", lambda _: counting)

    found = feedback.read_reviews(settings, one)

    assert found.up == 30
    assert counting.calls == {"search_traces": 3}  # answers, votes, the titles of the newest conversations


def test_a_list_is_told_how_often_each_version_was_judged(settings: Settings) -> None:
    one, two, _ = versions(settings, 3)
    kept(settings, answered(one, thumb=True, rated_by="ada"), answered(one, thumb=False, rated_by="bob"))
    voted(settings, two, one, "tie", ADA)

    assert feedback.count_reviews(settings) == {one.ref: 3, two.ref: 1}


# ---------------------------------------------------------------- votes


def test_votes_count_for_either_side_and_ties_are_told_beside(settings: Settings) -> None:
    one, two, three = versions(settings, 3)
    for better in ("new", "new", "old", "tie"):
        voted(settings, two, one, better, ADA)
    voted(settings, one, two, "old", ADA)  # the second version was recorded, and the first one repeated it
    voted(settings, three, two, "new", ADA)

    found = feedback.read_reviews(settings, two)

    assert found.against(one) == Score(won=3, lost=1, ties=1)
    assert found.against(one).rate == 0.75
    assert (found.votes_won, found.votes_lost, found.ties) == (3, 2, 1)
    assert feedback.read_reviews(settings, one).against(two) == Score(won=1, lost=3, ties=1)
    assert feedback.read_reviews(settings, one).against(three) == Score()
    assert Score(ties=3).rate is None


def test_a_persons_latest_vote_on_a_pair_counts_and_each_has_one(settings: Settings) -> None:
    one, two = versions(settings, 2)
    pair = voted(settings, two, one, "new", ADA)
    voted(settings, two, one, "old", ADA, pair)
    voted(settings, two, one, "new", BOB, pair)
    voted(settings, two, one, "tie", Person("ADA@example.org", "reviewer"), pair)

    found = feedback.read_reviews(settings, two)

    assert found.against(one) == Score(won=1, ties=1)
    assert {(v.user.casefold(), v.better) for v in found.votes} == {(ADA.name, "tie"), (BOB.name, "new")}
    assert votes.read_votes(settings, talk_of(pair), BOB.name) == {(pair.new.id, pair.old.id): "new"}


def test_a_vote_can_be_taken_back_with_all_that_it_overrode(settings: Settings) -> None:
    one, two = versions(settings, 2)
    pair = voted(settings, two, one, "new", ADA)
    voted(settings, two, one, "old", ADA, pair)
    voted(settings, two, one, "new", BOB, pair)

    voted(settings, two, one, None, ADA, pair)

    assert feedback.read_reviews(settings, two).against(one) == Score(won=1)
    assert votes.read_votes(settings, talk_of(pair), ADA.name) == {}


def test_a_vote_is_an_assessment_that_can_be_read_in_mlflow(settings: Settings) -> None:
    one, two = versions(settings, 2)
    pair = voted(settings, two, one, "old", ADA)

    (given,) = mlflow_client(settings).get_trace(pair.new.trace_id).info.assessments

    assert (given.name, given.value, given.source.source_id) == ("vote", "phi3/1 > phi3/2", ADA.name)
    assert given.metadata[tags.NEW] == "phi3/2"
    assert given.metadata[tags.OLD] == "phi3/1"


def test_a_vote_waits_for_the_store_with_its_answer_and_is_known_meanwhile(settings: Settings) -> None:
    one, two = versions(settings, 2)
    pair = AnswerPair(answered(one), answered(two, "Paris."))
    talk, both = uuid.uuid4().hex, (pair.new.id, pair.old.id)
    with store_away(settings):
        history.save(settings, talk, pair.new, [], sync=False)
        vote(settings, talk, pair, "new", ADA)
        vote(settings, talk, pair, "old", BOB)
        assert history.read_votes(settings, talk, ADA.name) == {both: "new"}
        vote(settings, talk, pair, None, ADA)
        assert history.read_votes(settings, talk, ADA.name) == {}

    assert history.flush(settings)
    assert history.read_votes(settings, talk, BOB.name) == {both: "old"}
    assert history.read_votes(settings, talk, ADA.name) == {}


def store_away(settings: Settings):
    """Nothing is sent while another holds the lock of the outbox."""
    from filelock import FileLock

    return FileLock(settings.locks / "outbox.lock")
