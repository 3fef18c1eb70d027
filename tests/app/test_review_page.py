"""Review: a reviewer judges what waits for them, one after the other; the owner sees how it stands, and closes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from pages.components.shared import reads
from phi3core.chat import history
from phi3core.errors import StoreDown
from phi3core.evaluation import jobs, prompt_sets
from phi3core.evaluation.reviews import board, discussion, queue, review, sight, votes
from phi3core.evaluation.reviews.items import items_of
from phi3core.settings import Settings
from phi3core.traces import acts
from tests.app.comparing import three_versions
from tests.app.conftest import Open, Register, said
from tests.app.dialogs import become, keys_of
from tests.app.people import ANN, RAY, RUTH, VERA
from tests.app.servers import FakePool
from tests.app.talks import shown
from tests.evaluation.sets import CAPITALS
from tests.support import fakes, reviewing
from tests.support.judging import ADA, BOB
from tests.support.reviewing import evaluated, judge, made
from tests.support.saved_turns import no_senders_stay  # noqa: F401  (fixture)


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    reviewing.forget()
    yield
    reviewing.forget()
    fakes.until(lambda: all(job.state != "running" for job in jobs.recent()))
    jobs._jobs.clear()


def bar(at: AppTest) -> str:
    """What the progress bar says."""
    return str(at.get("progress")[0].proto.text)


def press(at: AppTest, key: str) -> AppTest:
    return at.button(key=key).click().run()


def vote(at: AppTest, value: str) -> AppTest:
    return press(at, next(key for key in keys_of(at) if key.startswith(f"review_vote_{value}_")))


def test_a_second_press_on_what_was_shown_before_is_no_vote_on_the_next(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(RAY, settings, monkeypatch)
    found = made(settings, evaluated(settings, count=2), reviews=1)
    at = open_page("review", r=found.id)
    pressed = next(button for button in at.button if button.label == "1 is better").click()
    again = WidgetStates(widgets=[pressed._widget_state])
    pressed.run()

    at._run(again)  # by a browser that has not drawn the next one yet

    assert len(votes.read_judgements(settings, found)) == 1
    assert not at.exception


def test_a_reviewer_judges_what_waits_and_takes_the_last_vote_back(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(RAY, settings, monkeypatch)
    found = made(settings, evaluated(settings, count=2), reviews=1)
    at = open_page("review")
    assert "**2 wait for you**, 0 done" in said(at)
    press(at, f"review_judge_{found.id}")
    assert at.query_params["r"] == found.id
    first = shown(said(at))
    assert "0 done, 2 wait for you · 0 of 2 votes in all" in bar(at)

    next(box for box in at.text_input if box.label == "Why?").set_value("It is shorter.").run()
    vote(at, "first")
    assert "1 done, 1 wait for you" in bar(at)
    assert shown(said(at)) != first
    vote(at, "tie")

    assert "Nothing waits for you any more" in said(at)
    press(at, "review_stop")
    reads.invalidate()
    press(at.run(), f"review_judge_{found.id}")
    press(at, "review_undo")
    vote(at, "bad")
    assert not at.exception
    assert history.flush(settings, 60)
    values = [(one.value, one.comment) for one in votes.read_judgements(settings, found, fresh=True)]
    assert sorted(value in ("left", "right") for value, _ in values) == [False, True]
    assert ("bad", "") in values
    assert "It is shorter." in [comment for _, comment in values]


def test_what_a_reviewer_is_sent_names_no_version(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(RAY, settings, monkeypatch)
    found = made(settings, evaluated(settings, ("phi3/1", "endpoint:other"), count=1), reviews=2)
    judge(settings, found, BOB, comment="Hm.")
    at = open_page("review", r=found.id)
    at.toggle(key="review_last").set_value(True).run()
    assert "You have not voted yet" in said(at)

    sent = "\n".join(str(element.proto) for element in at.main) + str(at.query_params)

    assert "phi3/1" not in sent
    assert "endpoint:other" not in sent
    vote(at, "tie")
    assert "Hm." in shown(said(at)), "what others said is shown after one's own vote"
    assert "phi3/1" not in shown(said(at))


@pytest.mark.parametrize(("form", "key", "value"), [("pass", "review_vote_fail", "fail"), ("rating", "review_keep", 4)])
def test_one_answer_passes_fails_or_is_rated(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch, form: str, key: str, value: object
) -> None:
    become(RAY, settings, monkeypatch)
    found = made(settings, evaluated(settings, ("phi3/1",), count=1), form=form, criteria=("helpful", "true"))
    at = open_page("review", r=found.id)
    if form == "rating":
        for at_criterion in (0, 1):
            mark = next(name for name in keys_of(at) if name.endswith(f"_{at_criterion}_4"))
            press(at, mark)
    press(at, next(name for name in keys_of(at) if name.startswith(key)))

    assert {one.value for one in votes.read_judgements(settings, found)} == {value}
    assert "Nothing waits for you any more" in said(at)


def test_the_owner_sees_how_it_stands_talks_it_over_and_closes_it(
    open_page: Open, settings: Settings, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(), register()
    found = made(settings, evaluated(settings, count=1), ANN, reviews=2)
    left = next(iter(items_of(settings, found).values())).left
    for person, chosen in ((ADA, "left"), (RUTH, "right")):
        turn = queue.find_next(settings, found, person)
        assert turn is not None
        first = sight.in_order(found, turn.item, person.name)[0] == left
        value = "first" if first == (chosen == "left") else "second"
        votes.cast(settings, found, turn, person, {"": value}, "Because <b>.")
    become(ANN, settings, monkeypatch)
    at = open_page("review", r=found.id, view="results")
    told = shown(said(at))
    assert "2 of 2 votes" in bar(at)
    assert "ada@example.org: **phi3/1** — Because <b>." in told
    (item,) = items_of(settings, found)
    at.text_input(key=f"review_text_{item}").set_value(f"@{RUTH.name} why?")
    say = next(key for key in keys_of(at) if key.startswith(f"FormSubmitter:review_say_{item}"))
    with monkeypatch.context() as patch:
        patch.setattr(discussion, "comment", down)
        press(at, say)
    assert "does not answer" in said(at)
    assert not any(form.proto.form.clear_on_submit for form in at.get("form")), "what is not kept stays in its box"
    assert at.text_input(key=f"review_text_{item}").value
    press(at, say)
    assert at.text_input(key=f"review_text_{item}").value == ""
    assert [one.text for one in discussion.read_comments(settings, found, ANN)] == [f"@{RUTH.name} why?"]
    press(at, "review_close")

    assert "this result is sealed" in said(at)
    assert review.read_review(settings, found.id).closed
    become(VERA, settings, monkeypatch)
    assert "phi3/1" in shown(said(open_page("review", r=found.id)))
    become(RUTH, settings, monkeypatch)
    assert "calls you" in said(home_of(open_page))


def down(*_: object) -> None:
    raise StoreDown("The MLflow store does not answer.")


def home_of(open_page: Open) -> AppTest:
    """Home, once what waits is read, which it does not wait for."""
    at = open_page("home")
    fakes.until(lambda: "Waits for you" in said(at.run()))
    return at


def test_home_says_what_waits(open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    become(RAY, settings, monkeypatch)
    made(settings, evaluated(settings, count=2))
    at = home_of(open_page)
    assert "olga@example.org asks: 2 wait for you, 0 done" in shown(said(at))


def test_a_review_of_a_prompt_set_is_made_once_it_is_answered(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    at = open_page("review")
    at.segmented_control(key="review_source").set_value("A prompt set, answered first").run()
    at.multiselect(key="review_refs").set_value(["phi3/1", "phi3/2"]).run()
    press(at, "review_make")
    assert "Say what the review asks" in at.error[0].value
    at.text_input(key="review_question").set_value("Is *2* fit?").run()
    at.multiselect(key="review_reviewers").set_value(["group:team"]).run()
    press(at, "review_make")
    fakes.until(lambda: all(job.state != "running" for job in jobs.recent()))
    reads.invalidate()
    at.run()

    assert not at.exception
    (made_review,) = review.search_reviews(settings)
    assert (made_review.plan.question, made_review.plan.reviewers) == ("Is *2* fit?", ("group:team",))
    assert made_review.items == 3
    assert "Is *2* fit?" in shown(said(at))
    assert "Is *2* fit?" not in said(at)


def test_a_review_of_an_evaluation_is_made_and_who_is_not_asked_is_told(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated(settings)
    become(ANN, settings, monkeypatch)
    at = open_page("review")
    at.text_input(key="review_question").set_value("Which?").run()
    at.multiselect(key="review_reviewers").set_value([ADA.name, BOB.name]).run()
    press(at, "review_make")
    (found,) = review.search_reviews(settings)
    assert (found.by, found.plan.reviews) == (ANN.name, 2)
    become(RAY, settings, monkeypatch)
    assert "This review asks others" in shown(open_page("review", r=found.id).warning[0].value)
    become(VERA, settings, monkeypatch)
    at = open_page("review")
    assert "Making a review needs the role reviewer" in said(at)
    assert "needs the role reviewer" in shown(open_page("review", r=found.id).warning[0].value)
    assert "is no review's id" in shown(open_page("review", r="x").warning[0].value)


def test_a_vote_while_the_store_is_away_is_told_and_not_lost(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(RAY, settings, monkeypatch)
    found = made(settings, evaluated(settings, count=1))
    at = open_page("review", r=found.id)

    real = acts.send_act
    monkeypatch.setattr(acts, "send_act", down)
    vote(at, "first")
    fakes.until(lambda: bool(history.sending_error(settings)))
    at.run()
    assert "1 change waits for the store, safe on this machine" in said(at)
    monkeypatch.setattr(acts, "send_act", real)
    assert history.flush(settings, 60)
    board._boards.clear()
    assert len(votes.read_judgements(settings, found)) == 1


def test_hostile_prompts_and_answers_are_drawn_letter_by_letter(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(ANN, settings, monkeypatch)
    evil = "![x](https://evil.example/a.png) <script>alert(1)</script> :red-badge[Production]"
    monkeypatch.setattr(reviewing, "item", lambda id, prompt: reviewing.Item(id, ({"role": "user", "content": evil},)))
    found = made(settings, evaluated(settings, (f"endpoint:{evil}", f"phi3/{evil}2"), count=1), ANN, reviews=1)
    judged = open_page("review", r=found.id)
    vote(judged, "first")
    discussion.comment(settings, found, "", evil, ANN)
    results = open_page("review", r=found.id, view="results")

    for at in (judged, results):
        assert not at.exception
        assert "![x](https" not in "".join(str(one.value) for one in (*at.markdown, *at.caption))
        assert ":red-badge[Production]" not in said(at)
