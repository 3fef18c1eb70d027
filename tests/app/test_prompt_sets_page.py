"""Prompt sets: written, edited, taken from what was said, split; and nothing that was typed is lost."""

from __future__ import annotations

import uuid

from streamlit.testing.v1 import AppTest

from phi3core.access import roles
from phi3core.chat import history
from phi3core.evaluation import drafts, prompt_sets
from phi3core.evaluation.conversation_items import disliked_items
from phi3core.settings import Settings
from tests.app.chatting import ask, live
from tests.app.comparing import compared, three_versions
from tests.app.conftest import Open, Register, said
from tests.app.dialogs import press
from tests.app.people import ANN
from tests.app.servers import FakePool
from tests.app.talks import shown
from tests.evaluation.sets import CAPITALS, item
from tests.support.judging import answered, kept


def form_key(at: AppTest, name: str) -> str:
    return f"sets_{at.session_state['sets_item']}_{name}"


def into(at: AppTest, opener: str, name: str) -> AppTest:
    """Through the dialog “Into a prompt set”, with the answers as references."""
    at.button(key=opener).click().run()
    at.selectbox(key="into_set_name").set_value(name)
    at.toggle(key="into_set_reference").set_value(True)
    at.button(key=opener).click().run()
    at.button(key=opener).click()
    return at.button(key="into_set_add").click().run()


def test_a_set_is_written_item_by_item_and_saved(open_page: Open, settings: Settings) -> None:
    at = open_page("prompt_sets")
    at.text_input(key="sets_new_name").set_value("capitals").run()
    at.button(key="sets_new").click().run()
    at.text_area(key=form_key(at, "message_0_1_user")).set_value("Capital of Spain?").run()
    at.text_input(key=form_key(at, "regex")).set_value("Mad(").run()
    assert "no regular expression" in shown(at.warning[0].value)
    at.text_input(key=form_key(at, "regex")).set_value("Mad").run()
    at.text_input(key=form_key(at, "number")).set_value("3").run()
    at.multiselect(key=form_key(at, "tags")).set_value(["spain"]).run()
    at.button(key="sets_add").click().run()
    at.text_area(key=form_key(at, "message_0_1_user")).set_value("Capital of France?").run()
    at.button(key=f"{form_key(at, 'system')}").click().run()
    at.text_area(key=form_key(at, "message_0_2_system")).set_value("Be short.").run()
    at.button(key="sets_save").click().run()

    assert not at.exception
    one, other = prompt_sets.read_set(settings, "capitals")[1]
    assert (one.prompt, one.expectations, one.tags) == ("Capital of Spain?", {"regex": "Mad", "number": 3}, ("spain",))
    assert [message["content"] for message in other.messages] == ["Be short.", "Capital of France?"]
    assert "is saved, with 2 items" in shown(at.success[0].value)


def test_what_was_typed_is_there_when_the_page_is_opened_again(open_page: Open, settings: Settings) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    at = open_page("prompt_sets", set="capitals")
    at.button(key="sets_edit").click().run()
    at.text_area(key=form_key(at, "criteria")).set_value("Is polite.").run()

    again = open_page("prompt_sets", draft="capitals")

    assert again.text_area(key=form_key(again, "criteria")).value == "Is polite."
    assert "not saved yet" in said(open_page("prompt_sets"))
    assert prompt_sets.read_set(settings, "capitals")[1] == CAPITALS


def test_items_are_tagged_and_deleted_together(open_page: Open, settings: Settings) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    at = open_page("prompt_sets", set="capitals")
    at.button(key="sets_edit").click().run()
    at.text_input(key="sets_find").set_value("capital of").run()
    at.text_input(key="sets_tag").set_value("geography").run()
    at.button(key="sets_tag_all").click().run()
    at.text_input(key="sets_find").set_value("hello").run()
    at.button(key="sets_remove_all").click().run()
    at.text_input(key="sets_find").set_value("").run()
    at.button(key="sets_save").click().run()

    assert [(one.id, one.tags) for one in prompt_sets.read_set(settings, "capitals")[1]] == [
        ("spain", ("geography",)),
        ("france", ("geography",)),
    ]
    assert len(prompt_sets.search_sets(settings, versions=True)) == 2


def test_what_another_saved_meanwhile_is_told_before_it_is_followed_by_mine(
    open_page: Open, settings: Settings
) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    at = open_page("prompt_sets", set="capitals")
    at.button(key="sets_edit").click().run()
    at.text_area(key=form_key(at, "criteria")).set_value("Is polite.").run()
    prompt_sets.save_set(settings, "capitals", CAPITALS[:2], ANN)

    at.button(key="sets_save").click().run()
    assert "has saved capitals@" in shown(at.warning[0].value)
    at.button(key="sets_save").click().run()

    assert prompt_sets.read_set(settings, "capitals")[1][0].expectations["criteria"] == "Is polite."


def test_after_a_discarded_conflict_a_new_draft_asks_again(open_page: Open, settings: Settings) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    at = open_page("prompt_sets", set="capitals")
    at.button(key="sets_edit").click().run()
    at.text_area(key=form_key(at, "criteria")).set_value("Is polite.").run()
    prompt_sets.save_set(settings, "capitals", CAPITALS[:2], ANN)
    at.button(key="sets_save").click().run()
    assert at.button(key="sets_save").label == "Save it as the newest all the same"

    at.button(key="sets_discard").click().run()
    drafts.begin(settings, roles.local_person(settings), "capitals", "capitals")

    again = at.query_params
    again.clear()
    again["draft"] = "capitals"
    assert at.run().button(key="sets_save").label == "Save"


def test_what_two_pages_write_in_one_item_never_lands_in_another_message(open_page: Open, settings: Settings) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS[:1])
    one = open_page("prompt_sets", set="capitals")
    one.button(key="sets_edit").click().run()
    other = open_page("prompt_sets", draft="capitals")
    other.button(key=form_key(other, "system")).click().run()

    one.text_area(key=form_key(one, "message_0_1_user")).set_value("Capital of Peru?").run()
    system = form_key(one, "message_0_2_system")
    other.button(key=form_key(other, "only")).click().run()
    one.text_area(key=system).set_value("Be short.").run()

    assert not one.exception
    assert "changed on another page: what you did last here is not kept" in shown(one.warning[0].value)
    me = roles.local_person(settings)
    (entry,) = drafts.read(settings, me, "capitals").entries  # type: ignore[union-attr]
    assert entry["messages"] == [{"role": "user", "content": "Capital of Peru?"}]
    drafts.discard(settings, me, "capitals")
    one.text_area(key=form_key(one, "message_0_1_user")).set_value("Of Chile?").run()
    assert "saved or discarded on another page" in shown(one.warning[0].value)


def test_a_set_is_split_and_a_version_deleted(open_page: Open, settings: Settings) -> None:
    prompt_sets.save_set(settings, "many", [item(f"i{number}", f"Q {number}?") for number in range(20)])
    at = open_page("prompt_sets", set="many")
    at = press(at, "sets_split", "sets_split_now")
    assert not at.exception
    sizes = {one.name: one.size for one in prompt_sets.search_sets(settings)}
    assert sizes["many a"] + sizes["many b"] == 20

    press(open_page("prompt_sets", set="many"), "sets_delete", "sets_delete_now")
    assert "many" not in {one.name for one in prompt_sets.search_sets(settings)}


def test_a_conversation_becomes_items_with_what_was_said_before(
    open_page: Open, settings: Settings, servers: FakePool
) -> None:
    first = answered("phi3/1")
    second = answered("phi3/1", "Paris.", parent=first.id, when=first.when + 1)
    second.question = "And of France?"
    id = kept(settings, first, second)
    prompt_sets.save_set(settings, "talks", [item("own", "Own?")])
    at = open_page("conversations")
    at.checkbox(key=f"conversations_pick_{id}").check().run()
    at = into(at, "conversations_into_set", "talks")

    assert not at.exception
    _, one, other = prompt_sets.read_set(settings, "talks")[1]
    assert (one.prompt, one.expectations) == ("The capital?", {"reference": "Madrid."})
    assert [message["content"] for message in other.messages] == ["The capital?", "Madrid.", "And of France?"]


def test_disliked_answers_become_items_with_the_comment_as_criteria(settings: Settings) -> None:
    bad, good = answered("phi3/1"), answered("phi3/1", "Paris.")
    for turn, thumb in ((bad, False), (good, True)):
        history.save(settings, uuid.uuid4().hex, turn, [{"role": "user", "content": turn.question}], sync=False)
        turn.thumb, turn.comment = thumb, "Too short"
        history.rate(settings, uuid.uuid4().hex, turn, ANN)
    assert history.flush(settings, 60)

    (found,) = disliked_items(settings, ANN)

    assert (found.prompt, found.expectations) == (
        "The capital?",
        {"criteria": "An earlier answer was disliked: Too short"},
    )


def test_a_compared_prompt_goes_into_a_set_with_the_best_answer(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    prompt_sets.save_set(settings, "compared", [item("own", "Own?")])
    at = compared(open_page, "phi3/1", "phi3/3")
    assert not [button for button in at.button if button.key == "compare_set_0"], "blind before the vote"
    at.button(key="compare_vote_1").click().run()
    at = into(at, "compare_set_0", "compared")

    assert not at.exception
    _, found = prompt_sets.read_set(settings, "compared")[1]
    assert found.prompt == "Capital?"
    assert found.expectations["reference"].strip() in ("The capital is Madrid.", "No idea at all.")


def test_an_answer_in_the_chat_goes_into_a_set_by_the_button_below_it(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    register()
    prompt_sets.save_set(settings, "talks", [item("own", "Own?")])
    at = ask(open_page("chat"), "Capital?")
    (turn,) = live(at).path
    at = into(at, f"turn_set_{turn.id}", "talks")

    assert not at.exception
    _, found = prompt_sets.read_set(settings, "talks")[1]
    assert "Madrid" in turn.answer
    assert (found.prompt, found.expectations) == ("Capital?", {"reference": turn.answer})


def test_a_file_becomes_a_set_and_one_that_makes_no_sense_is_told(open_page: Open, settings: Settings) -> None:
    at = open_page("prompt_sets")
    at.file_uploader[0].set_value(("towns.csv", b"id,prompt,contains\nspain,Spain?,Madrid\n", "text/csv")).run()
    (name,) = (box for box in at.text_input if str(box.key).startswith("sets_name_"))
    assert name.value == "towns"
    name.set_value("capitals").run()
    at.button(key="sets_save_file").click().run()

    assert not at.exception
    assert "has 1 item." in shown(said(at))
    (found,) = prompt_sets.read_set(settings, "capitals")[1]
    assert (found.id, found.prompt, found.expectations) == ("spain", "Spain?", {"contains": ["Madrid"]})

    at = open_page("prompt_sets")
    at.file_uploader[0].set_value(("broken.jsonl", b"{nothing", "application/json")).run()
    at.button(key="sets_save_file").click().run()
    assert "JSON" in shown(at.error[0].value)
    assert {one.name for one in prompt_sets.search_sets(settings)} == {"capitals"}


def test_hostile_items_are_drawn_letter_by_letter(open_page: Open, settings: Settings) -> None:
    bad = "![x](https://evil.example/a.png) :red-badge[Production] <script>"
    prompt_sets.save_set(settings, "odd", [item("odd", bad, contains=[bad], criteria=bad)])

    told = said(open_page("prompt_sets", set="odd"))

    assert "https://evil" in shown(told)
    assert "![x](" not in told
    assert ":red-badge[Production]" not in told
    assert drafts.names(settings, ANN) == []


def test_a_viewer_looks_and_makes_nothing(open_page: Open, settings: Settings) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    settings.secrets.write_text('[roles]\ndefault = "viewer"\n')

    assert not [button for button in open_page("prompt_sets").button if button.key == "sets_new"]
    at = open_page("prompt_sets", set="capitals")
    assert not [button for button in at.button if button.key in ("sets_edit", "sets_copy", "sets_delete")]
    assert "What is the capital of Spain?" in shown(said(at))
