"""Conversations: replays, and the votes on their answers."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.shared import ui
from phi3core.chat import history, live_conversations, replay
from phi3core.chat.live_conversations import delete_conversation, load_conversation
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.traces import feedback
from phi3core.traces.votes import Score
from tests.app.chatting import WORDS
from tests.app.conftest import Open, Register, links, said
from tests.app.servers import FakePool, HeldEngine
from tests.app.talks import shown, talk
from tests.support import fakes


def replayed(at: AppTest, id: str, version: str = "") -> AppTest:
    """Start a replay through its dialog."""
    at.menu_button(key=f"conversations_menu_{id}").click("Replay").run()
    if version:
        at.selectbox(key=f"replay_version_{id}_phi3").set_value(version)
    at.menu_button(key=f"conversations_menu_{id}").click("Replay")
    return at.button(key="replay_start").click().run()


def ended(at: AppTest) -> AppTest:
    """Look again until the replay has ended, as a browser does by itself."""
    found = replay.find_replay(at.query_params["replay"])
    assert found is not None
    fakes.until(lambda: found.state != "running")
    return at.run()


def test_a_replay_is_shown_beside_what_was_recorded(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    engine.pause = 0.01  # a speed takes time to measure
    register()
    register()
    id = talk(settings, ("Capital?", "The capital is Madrid."), ("Again?", "The town is Rome."))
    at = ended(replayed(open_page("conversations"), id, version="phi3/2"))
    assert not at.exception
    assert not at.error
    assert "1 of 2 answers are the same" in said(at)
    columns = [shown(element.value) for element in at.markdown]
    assert "The :red-background[town] is :red-background[Rome]." in columns
    assert "The :green-background[capital] is :green-background[Madrid]." in columns
    figures = [shown(caption.value) for caption in at.caption if "tokens/s" in caption.value]
    assert any(figure.startswith("Recorded · phi3/1 · ") for figure in figures)
    assert any(figure.startswith("Replayed · phi3/2 · 5 tokens") for figure in figures)
    assert at.get("plotly_chart")


def test_what_a_replayed_question_was_asked_without_is_told(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    id = talk(settings, ("Capital?", "The town is Madrid."), top_k=3)
    engine.supports = frozenset({"max_tokens"})
    at = ended(replayed(open_page("conversations"), id))
    assert not at.error
    assert "Asked without top_k, which this model does not take." in shown(said(at))


def test_the_same_version_is_offered_first(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    id = talk(settings, ("Capital?", "The capital is Madrid."))
    at = open_page("conversations")
    at.menu_button(key=f"conversations_menu_{id}").click("Replay").run()
    box = at.selectbox(key=f"replay_version_{id}_phi3")
    assert box.value == "phi3/1"
    assert any(option.endswith("as recorded") for option in box.options)
    at = ended(replayed(open_page("conversations"), id))
    assert "The answer is the same, to the letter." in said(at)


def test_a_replay_is_found_again_by_its_address_after_a_restart(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    id = talk(settings, ("Capital?", "The town is Madrid."))
    at = ended(replayed(open_page("conversations"), id))
    made = at.query_params["replay"]
    assert history.flush(settings)
    live_conversations._live.clear()
    replay._live.clear()
    at = open_page("conversations", replay=made)
    assert not at.exception
    assert "The answer is different." in said(at)
    assert "The :red-background[town] is Madrid." in [shown(element.value) for element in at.markdown]


def test_a_running_replay_shows_how_far_it_is_and_can_be_stopped(
    open_page: Open, register: Register, settings: Settings, servers: FakePool
) -> None:
    register()
    held = HeldEngine(WORDS, hold_at=2)
    servers.engines = lambda ref: held
    id = talk(settings, ("Capital?", "The capital is Madrid."), ("Again?", "No."))
    at = replayed(open_page("conversations"), id)
    assert fakes.until(held.holding.is_set)
    at.run()
    assert "Asking question 1 of 2" in str(at.get("progress")[0].proto)
    at.button(key="replay_stop").click().run()
    at = ended(at)
    assert not at.exception
    assert re.search(r"Stopped after \d of 2 questions", said(at))


def test_a_replay_that_fails_says_why(
    open_page: Open, register: Register, settings: Settings, servers: FakePool
) -> None:
    register()
    broken = fakes.FakeEngine(WORDS)
    broken.fail_at = 1
    servers.engines = lambda ref: broken
    id = talk(settings, ("Capital?", "The capital is Madrid."))
    at = ended(replayed(open_page("conversations"), id))
    assert not at.exception
    assert at.error
    assert "failed" in str([badge.value for badge in at.markdown])


VOTE = "Vote, without names"


def test_answers_of_two_versions_are_voted_on_at_compare_where_no_name_is_seen(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    id = talk(settings, ("Capital?", "The town is Madrid."), ("Again?", "The capital is Madrid."))
    at = ended(replayed(open_page("conversations"), id, version="phi3/2"))
    made = at.query_params["replay"]
    assert links(at)[VOTE] == f"compare?replay={made}"
    assert not at.button_group

    voting = open_page("compare", replay=made)
    voting.button(key="compare_vote_tie").click().run()
    assert not voting.exception
    assert history.flush(settings)
    one, two = (reader.get_version(settings, f"phi3/{number}") for number in (1, 2))
    assert feedback.read_reviews(settings, two).against(one) == Score(ties=1)
    again = open_page("compare", replay=made)
    assert "Your vote: as good as each other." in said(again)
    again.button(key="compare_back_0").click().run()
    assert history.flush(settings)
    assert feedback.read_reviews(settings, one).against(two) == Score()


def test_there_is_nothing_to_vote_on_between_answers_of_one_version(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    id = talk(settings, ("Capital?", "The town is Madrid."))
    at = ended(replayed(open_page("conversations"), id))
    assert "The answer is different." in said(at)
    assert VOTE not in links(at)


def test_a_viewer_is_offered_no_vote(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    settings.secrets.write_text('[roles]\ndefault = "viewer"\n')
    id = talk(settings, ("Capital?", "The town is Madrid."))
    target = reader.get_version(settings, "phi3/2")
    again = replay.start(load_conversation(settings, ui.servers(), id), target)
    fakes.until(lambda: again.state != "running")
    assert VOTE not in links(open_page("conversations", replay=again.conversation.id))


@pytest.mark.parametrize("id", ["nothing", "0" * 32, "a'b\"<script>"])
def test_an_address_that_leads_nowhere_is_one_sentence(open_page: Open, settings: Settings, id: str) -> None:
    at = open_page("conversations", replay=id)
    assert not at.exception
    assert len(at.error) == 1


def test_a_conversation_that_repeats_none_says_so(open_page: Open, settings: Settings) -> None:
    id = talk(settings, ("One", "Two"))
    assert "repeats no other one" in open_page("conversations", replay=id).error[0].value


def test_a_replay_of_a_deleted_conversation_says_so(
    open_page: Open, register: Register, settings: Settings, engine: fakes.FakeEngine
) -> None:
    register()
    id = talk(settings, ("Capital?", "The capital is Madrid."))
    made = ended(replayed(open_page("conversations"), id)).query_params["replay"]
    replay._live.clear()
    delete_conversation(settings, id)
    at = open_page("conversations", replay=made)
    assert "was deleted" in at.error[0].value
