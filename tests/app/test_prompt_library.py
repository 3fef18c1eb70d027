"""What the Chat page borrows: the saved prompts, the snippets, and what can be done with a conversation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components.chat import prompt_library
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.chat import prompts
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import add_conversation
from phi3core.chat.search import search_conversations
from phi3core.errors import StoreDown
from phi3core.settings import Settings
from phi3core.traces.turn import Turn
from tests.app.conftest import said
from tests.app.servers import FakePool
from tests.app.talks import shown


def _button() -> None:
    import streamlit as st

    from pages.components.chat import prompt_library

    prompt_library.insert("box")
    st.text_area("Box", key="box")


def _dialog() -> None:
    import streamlit as st

    from pages.components.chat import prompt_library

    prompt_library._library("box")
    st.text_area("Box", key="box")


@pytest.fixture
def library(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AppTest]:
    """The dialog, open. A test has no fragment runs, so the whole script runs instead."""
    monkeypatch.setattr(prompt_library, "_again", st.rerun)

    def open_() -> AppTest:
        at = AppTest.from_function(_dialog, default_timeout=30)
        at.session_state["prompts_mode"] = "Use"
        return at.run()

    return open_


def save(at: AppTest, name: str, text: str, note: str = "") -> AppTest:
    at.session_state["prompts_mode"] = "Save"
    at.run()
    at.text_input(key="prompts_save_name").set_value(name)
    at.text_area(key="prompts_text").set_value(text)
    at.text_input(key="prompts_note").set_value(note)
    return at.button(key="prompts_save").click().run()


# ---------------------------------------------------------------- prompts


def test_the_saved_prompts_are_read_only_when_they_are_opened(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr(prompts, "search_prompts", lambda settings: asked.append(settings) or [])
    at = AppTest.from_function(_button, default_timeout=30).run()
    assert not at.exception
    assert asked == []
    at.button(key="prompts_open_box").click().run()
    assert len(asked) == 1
    assert "There are no saved prompts yet" in said(at)


def test_the_text_that_stands_there_is_ready_to_be_saved(settings: Settings) -> None:
    at = AppTest.from_function(_button, default_timeout=30).run()
    at.text_area(key="box").set_value("You are terse.")
    at.button(key="prompts_open_box").click().run()
    assert at.session_state["prompts_text"] == "You are terse."


def test_a_prompt_is_filled_in_previewed_and_put_into_the_box(
    settings: Settings, library: Callable[[], AppTest]
) -> None:
    prompts.save(
        settings,
        "greet",
        "Greet {{name}} in {{language}}: {{name}}!",
        "for ![x](https://evil.example)",
        Person("ada", "admin"),
    )
    at = library()
    assert at.selectbox(key="prompts_name").value == "greet"
    assert at.code[0].value == "Greet {{name}} in {{language}}: {{name}}!"
    assert "![" not in said(at)
    assert at.button(key="prompts_insert").disabled
    at.text_area(key="prompts_value_greet_name").set_value("{{language}}")
    at.text_area(key="prompts_value_greet_language").set_value("Spanish").run()
    assert at.code[0].value == "Greet {{language}} in Spanish: {{language}}!"
    at.button(key="prompts_insert").click().run()
    assert not at.exception
    assert at.text_area(key="box").value == "Greet {{language}} in Spanish: {{language}}!"


def test_an_older_version_can_be_used(settings: Settings, library: Callable[[], AppTest]) -> None:
    prompts.save(settings, "greet", "Hello")
    prompts.save(settings, "greet", "Good day")
    at = library()
    box = at.selectbox(key="prompts_version_greet_2")
    assert [int(option) for option in box.options] == [2, 1]
    assert at.code[0].value == "Good day"
    box.set_value(1).run()
    assert at.code[0].value == "Hello"


def test_a_text_is_saved_under_a_name_and_again_as_its_next_version(
    settings: Settings, library: Callable[[], AppTest]
) -> None:
    at = save(library(), "greet", "Hello {{name}}", "a greeting")
    assert not at.exception
    assert "greet is saved as version 1." in said(at)
    assert at.code[0].value == "Hello {{name}}"  # back where it can be used
    at = save(at, "greet", "Bye {{name}}")
    assert "greet is saved as version 2." in said(at)
    at = save(at, "greet", "Bye {{name}}")
    assert "is saved already, word for word" in said(at)
    assert [prompt.text for prompt in prompts.list_versions(settings, "greet")] == ["Bye {{name}}", "Hello {{name}}"]
    assert prompts.load(settings, "greet", 1).note == "a greeting"
    assert prompts.load(settings, "greet").user == roles.local_person(settings).name


@pytest.mark.parametrize(("name", "text"), [("greet", "  "), ("", "Hello"), ("with a space", "Hello")])
def test_what_can_not_be_saved_is_told_and_stays_in_its_boxes(
    settings: Settings, library: Callable[[], AppTest], name: str, text: str
) -> None:
    at = save(library(), name, text)
    assert not at.exception
    assert len(at.error) == 1
    assert at.text_area(key="prompts_text").value == text
    assert prompts.search_prompts(settings) == []


def test_editing_takes_the_chosen_prompt_over(settings: Settings, library: Callable[[], AppTest]) -> None:
    prompts.save(settings, "greet", "Hello", "a greeting")
    at = library()
    at.button(key="prompts_edit").click().run()
    assert at.text_input(key="prompts_save_name").value == "greet"
    assert at.text_area(key="prompts_text").value == "Hello"
    assert at.text_input(key="prompts_note").value == "a greeting"


def test_a_prompt_is_deleted_with_all_its_versions(settings: Settings, library: Callable[[], AppTest]) -> None:
    prompts.save(settings, "greet", "Hello")
    prompts.save(settings, "greet", "Good day")
    prompts.save(settings, "other", "Other")
    at = library()
    assert "goes for good, with all its versions (the newest is 2)" in said(at)
    at.button(key="prompts_delete").click().run()
    assert not at.exception
    assert "greet is deleted." in said(at)
    assert [prompt.name for prompt in prompts.search_prompts(settings)] == ["other"]
    assert at.selectbox(key="prompts_name").value == "other"


def test_a_store_that_is_down_is_one_sentence_in_the_dialog(
    settings: Settings, library: Callable[[], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_: Settings) -> None:
        raise StoreDown("The MLflow store does not answer.")

    monkeypatch.setattr(prompts, "search_prompts", down)
    at = library()
    assert not at.exception
    assert [shown(error.value) for error in at.error] == ["The MLflow store does not answer."]


# ---------------------------------------------------------------- a conversation's menu


def _menu() -> None:
    import streamlit as st

    from pages.components.conversations import conversation_menu

    conversation_menu.menu(st.session_state["talk"])


@pytest.fixture
def menu(settings: Settings) -> Callable[..., AppTest]:
    def open_(*turns: Turn) -> AppTest:
        talk = Conversation(settings, FakePool(), user="ada")  # type: ignore[arg-type]
        if turns:
            talk.adopt(turns)
        at = AppTest.from_function(_menu, default_timeout=30)
        at.session_state["talk"] = add_conversation(talk)
        return at.run()

    return open_


def test_a_conversation_without_turns_has_no_menu(menu: Callable[..., AppTest]) -> None:
    at = menu()
    assert not at.exception
    assert not at.button
    assert not at.download_button


def test_the_menu_offers_a_link_and_three_kinds_of_files(menu: Callable[..., AppTest]) -> None:
    at = menu(Turn("What? *Why*?", "phi3/1", answer="So.", state="done", asked_ref="phi3/Production"))
    assert not at.exception
    id = at.session_state["talk"].id
    assert at.code[0].value.endswith(f"/chat?c={id}&ref=phi3/Production")
    assert [button.label for button in at.download_button] == ["Markdown", "JSON", "JSONL"]
    assert {button.label for button in at.button} == {"Rename", "Replay", "Delete"}


def test_the_menu_deletes_only_after_asking(menu: Callable[..., AppTest], settings: Settings) -> None:
    at = menu(Turn("What?", "phi3/1", answer="So.", state="done"))
    id = at.session_state["talk"].id
    at.button(key=f"share_delete_{id}").click().run()
    assert "Delete this conversation for good?" in said(at)
    assert "its trace in MLflow" in said(at)
    assert search_conversations(settings).conversations
