"""Compare: versions are asked the same, their answers stand beside each other, and votes are cast blind."""

from __future__ import annotations

import re

import pytest

from phi3core.chat import history, live_conversations
from phi3core.errors import StoreDown
from phi3core.evaluation import comparison, hiding
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from phi3core.traces import feedback, votes
from phi3core.traces.votes import Score
from tests.app.comparing import ANSWERS, begun, compared, led, sent, settled, texts, three_versions
from tests.app.conftest import Open, Register, said
from tests.app.servers import FakePool, HeldEngine, TellingEngine
from tests.app.talks import NASTY, shown, talk
from tests.support import fakes


def score(settings: Settings, one: str, other: str) -> Score:
    assert history.flush(settings)
    found = feedback.read_reviews(settings, reader.get_version(settings, one))
    return found.against(reader.get_version(settings, other))


def test_from_home_to_the_first_blind_vote_in_three_clicks(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    engines = three_versions(register, servers)
    at = open_page("home")
    at = led(at.button(key="home_compare_them").click().run())
    at = settled(at.button(key="compare_example_0").click().run())
    assert {ref: len(engine.asked) for ref, engine in engines.items()} == {"phi3/1": 0, "phi3/2": 1, "phi3/3": 1}
    at.button(key="compare_vote_1").click().run()
    assert not at.exception
    assert "Your vote: 1 is better." in said(at)
    assert score(settings, "phi3/2", "phi3/3").rate in (0, 1)


def test_nothing_that_is_sent_before_the_vote_names_a_version(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)["phi3/3"].fail_at = 0
    at = compared(open_page, "phi3/1", "phi3/2", "phi3/3")
    assert not at.exception
    assert "No answer came. Why is told after the vote." in said(at)
    (found,) = {talk.origin.conversation for talk in live_conversations._live.values() if talk.origin}
    assert at.query_params == {"c": found}
    for page in (at, open_page("compare", c=found)):  # for the one who asked, and by the address
        told = sent(page)
        ids = [id for talk in live_conversations._live.values() for id in (talk.id, *talk.tree)]
        assert not [secret for secret in ("phi3", "tokens/s", "broke", *ids) if secret in told]
        assert sorted(texts(page)) == sorted([ANSWERS["phi3/1"], ANSWERS["phi3/2"]])
    at.button(key="compare_vote_bad").click().run()
    assert all(f"· {ref}" in shown(said(at)) for ref in ANSWERS)
    assert "the runtime broke" in said(at)
    assert score(settings, "phi3/1", "phi3/2") == Score(bad=1)
    assert score(settings, "phi3/1", "phi3/3") == Score()


def test_the_vote_is_for_the_answer_on_the_button_whatever_the_order(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    at = compared(open_page, "phi3/1", "phi3/2")
    place = texts(at).index(ANSWERS["phi3/2"])
    at.text_input(key="compare_comment_0").set_value("A town!").run()
    at.button(key=f"compare_vote_{place + 1}").click().run()
    assert texts(at)[place] == ANSWERS["phi3/2"]
    assert f"**{place + 1} · phi3/2** :green-badge[:material/thumb_up: your choice]" in shown(said(at))
    assert score(settings, "phi3/2", "phi3/1") == Score(won=1)
    assert re.search(r"phi3/2.* · .*\+ 4 tokens · 123 MB of memory", shown(said(at)))


def test_while_answers_come_all_are_shown_at_the_pace_of_the_slowest(
    open_page: Open, register: Register, servers: FakePool
) -> None:
    three_versions(register, servers)
    slow, fast = HeldEngine(("One ", "two ", "three"), hold_at=1), fakes.FakeEngine(("Uno ", "dos ", "tres"))
    servers.engines = {"phi3/1": slow, "phi3/2": fast}.__getitem__
    at = open_page("compare")
    at.multiselect(key="compare_with").set_value(["phi3/1", "phi3/2"]).run()
    at.chat_input(key="compare_input").set_value("Count.").run()
    fakes.until(lambda: slow.holding.is_set() and fast.ended.is_set())
    fakes.until(lambda: sorted(texts(at.run())) == ["One", "Uno"])
    assert not [secret for secret in ("phi3", "Esc to") if secret in sent(at)]
    assert not [button for button in at.button if str(button.key).startswith("compare_vote")]
    slow.go.set()
    assert sorted(texts(settled(at))) == ["One two three", "Uno dos tres"]


def test_what_differs_is_marked_and_escaped(open_page: Open, register: Register, servers: FakePool) -> None:
    three_versions(register, servers)
    at = compared(open_page, "phi3/1", "phi3/2", question=NASTY)
    assert NASTY in [text.value for text in at.text]
    at.button(key="compare_marks_0").click().run()
    marked = {shown(text) for text in texts(at)}
    first = "capital" if "capital" in texts(at)[0] else "town"
    other = {"capital": "town", "town": "capital"}[first]
    assert marked == {
        f"The :red-background[{first}] is Madrid.",
        f"The :green-background[{other}] is Madrid.",
    }
    assert "phi3" not in sent(at)


def test_hostile_answers_do_no_harm(open_page: Open, register: Register, servers: FakePool) -> None:
    three_versions(register, servers)
    servers.engines = lambda ref: fakes.FakeEngine((NASTY, f" {ref[-1]}"))
    at = compared(open_page, "phi3/1", "phi3/2", question=NASTY)
    assert "![x](https://evil" not in "".join(texts(at))
    at.button(key="compare_marks_0").click().run()
    assert all("![x](https://evil" not in text for text in texts(at))
    at.button(key="compare_vote_tie").click().run()
    assert not at.exception


def test_it_goes_on_after_the_vote_and_is_hidden_again(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    engines = three_versions(register, servers)
    at = compared(open_page, "phi3/1", "phi3/2")
    assert [box.key for box in at.chat_input] == []  # first the vote
    at.button(key="compare_reveal").click().run()
    assert "You looked whose answers these are" in said(at)
    at = settled(at.chat_input(key="compare_next").set_value("Sure?").run())
    assert [engine.prompts[-1].count("<user>") for engine in engines.values() if engine.prompts] == [2, 2]
    assert [button.key for button in at.button if str(button.key).startswith("compare_vote")]
    at.button(key="compare_vote_tie").click().run()
    assert score(settings, "phi3/1", "phi3/2") == Score(ties=1)
    at.button(key="compare_new").click().run()
    assert at.multiselect(key="compare_with")


def test_a_vote_is_taken_back_and_not_cast_again(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    at = compared(open_page, "phi3/1", "phi3/2")
    other_tab = open_page("compare", c=at.query_params["c"])
    at.button(key="compare_vote_1").click().run()
    at.button(key="compare_back_0").click().run()
    assert score(settings, "phi3/1", "phi3/2") == Score()
    other_tab.button(key="compare_vote_2").click().run()
    assert "your first vote stands" in other_tab.error[0].value
    assert score(settings, "phi3/1", "phi3/2") == Score()


def test_a_vote_while_the_store_is_away_is_kept_told_and_sent_later(
    open_page: Open, register: Register, servers: FakePool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_versions(register, servers)
    at = compared(open_page, "phi3/1", "phi3/2")
    assert history.flush(settings)

    def away(*_: object) -> None:
        raise StoreDown("The store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(votes, "read_votes", away)
        patch.setattr(votes, "send_vote", away)
        at.button(key="compare_vote_tie").click().run()
        assert "Your vote: as good as each other." in said(at)
        fakes.until(lambda: history.sending_error(settings))
        assert "1 change waits for the store, safe on this machine" in said(at.run())
    assert score(settings, "phi3/1", "phi3/2") == Score(ties=1)


def test_who_can_not_vote_sees_whose_answers_they_are(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    made = begun(settings, servers, "phi3/1", "phi3/2")
    settings.secrets.write_text('[roles]\ndefault = "viewer"\n')
    at = open_page("compare", c=made.id)
    assert "phi3/1" in shown(said(at))
    assert not [button for button in at.button if str(button.key).startswith("compare_vote")]


def test_who_chose_to_see_has_no_vote_and_others_have(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    made = begun(settings, servers, "phi3/1", "phi3/2", user="ada", blind=False)
    assert history.flush(settings)
    live_conversations._live.clear()
    assert "phi3" not in sent(open_page("compare", c=made.id))
    again = comparison.load(settings, servers, made.id)  # type: ignore[arg-type]
    ada = hiding.Person("ada", "reviewer")
    assert not hiding.look(again.rounds[0], ada, None).hidden


def test_why_they_are_different_is_told_by_the_tokens(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    servers.engines = lambda ref: TellingEngine(tuple(ANSWERS[ref].split(" ")))
    at = compared(open_page, "phi3/1", "phi3/2")
    at.button(key="compare_vote_tie").click().run()
    told = shown(said(at)) + str([table.value.to_dict() for table in at.table])
    assert "and then they part" in told
    assert "75.0 %" in told
    assert "below 20.0 %" in told


def test_an_address_of_none_says_so_and_offers_a_new_one(open_page: Open, settings: Settings) -> None:
    at = open_page("compare", c="0" * 32)
    assert "not in the store" in at.warning[0].value
    assert at.multiselect(key="compare_with")


def test_what_was_typed_is_not_lost_where_it_can_not_be_asked(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    at = open_page("compare", **{"with": "phi3/1"})
    assert at.multiselect(key="compare_with").value == ["phi3/1"]
    at.chat_input(key="compare_input").set_value("Capital?").run()
    assert "Choose two to four versions" in at.error[0].value
    assert at.chat_input(key="compare_input").proto.value == "Capital?"
    mlflow_client(settings).delete_model_version("phi3", "2")
    at.multiselect(key="compare_with").set_value(["phi3/1", "phi3/2"]).run()
    at.chat_input(key="compare_input").set_value("Capital?").run()
    assert at.error


def test_a_replay_is_voted_on_without_names(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    id = talk(settings, ("Capital?", "The city is Madrid."), ("Again?", "The capital is Madrid. "))
    at = open_page("conversations")
    at.menu_button(key=f"conversations_menu_{id}").click("Replay").run()
    at.selectbox(key=f"replay_version_{id}_phi3").set_value("phi3/2")
    at.toggle(key="replay_blind").set_value(True)
    at.menu_button(key=f"conversations_menu_{id}").click("Replay")
    at = settled(led(at.button(key="replay_start").click().run()))
    fakes.until(lambda: "compare_vote_tie" in [button.key for button in at.run().button])
    assert "phi3" not in sent(at)
    at.button(key="compare_vote_tie").click().run()
    at = settled(at)
    at.button(key="compare_vote_tie").click().run()
    assert not at.exception
    assert score(settings, "phi3/1", "phi3/2") == Score(ties=2)
