"""Chat: which version is talked to."""

from __future__ import annotations

import pytest

from phi3core.promotion.promote import promote, set_alias
from phi3core.settings import Settings
from tests.app.chatting import ask
from tests.app.conftest import Open, Register, links, said
from tests.app.servers import FakePool
from tests.app.talks import shown
from tests.support import fakes


def test_an_empty_registry_leads_to_the_build_page(open_page: Open) -> None:
    at = open_page("chat")
    assert not at.exception
    assert "no version to talk to yet" in said(at)
    assert links(at) == {"Build a version": "build"}
    assert not at.chat_input


def test_without_production_the_newest_onnx_version_is_chosen(open_page: Open, register: Register) -> None:
    register(wrapper="onnx")
    register(wrapper="onnx")
    register(wrapper="transformers")
    at = open_page("chat")
    assert at.selectbox(key="chat_ref").value == "phi3/2"
    assert "ref" not in at.query_params  # the page's own choice needs no address, and Back leaves at once


def test_without_an_onnx_version_the_newest_is_chosen(open_page: Open, register: Register) -> None:
    register(wrapper="transformers")
    register(wrapper="transformers")
    assert open_page("chat").selectbox(key="chat_ref").value == "phi3/2"


def test_production_comes_first_and_is_what_answers(
    open_page: Open, register: Register, settings: Settings, servers: FakePool, engine: fakes.FakeEngine
) -> None:
    register("phi3", wrapper="onnx")
    register("phi3", wrapper="onnx")
    promote(settings, "phi3/1", "Production")
    register("newer", wrapper="onnx")
    at = open_page("chat")
    assert at.selectbox(key="chat_model").value == "phi3"
    assert at.selectbox(key="chat_ref").value == "phi3/Production"
    ask(at, "Hello")
    assert servers.opened == ["phi3/1"]
    assert "phi3/1" in shown(at.chat_message[1].caption[0].value)


def test_stages_aliases_and_numbers_can_all_be_chosen(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    register()
    promote(settings, "phi3/1", "Staging")
    set_alias(settings, "phi3/2", "champion")
    at = open_page("chat")
    labels = at.selectbox(key="chat_ref").options
    assert any(label.startswith("Staging") and label.endswith("/1") for label in labels)
    assert any(label.startswith("@champion") and label.endswith("/2") for label in labels)
    assert sum(label.startswith(("/1 ", "/2 ")) for label in labels) == 2


@pytest.mark.parametrize("ref", ["phi3/1", "phi3@champion", "phi3/Staging"])
def test_a_link_chooses_the_version_it_names(
    open_page: Open, register: Register, settings: Settings, servers: FakePool, engine: fakes.FakeEngine, ref: str
) -> None:
    register()
    register()
    promote(settings, "phi3/1", "Staging")
    set_alias(settings, "phi3/1", "champion")
    at = open_page("chat", ref=ref)
    assert at.selectbox(key="chat_ref").value == ref
    assert not at.warning
    ask(at, "Hello")
    assert servers.opened == ["phi3/1"]


@pytest.mark.parametrize(
    ("ref", "sentence"),
    [
        ("phi3/99", "phi3/99 is not there"),
        ("phi3@nobody", "phi3@nobody is not there"),
        ("phi3/Production", "phi3/Production is not there"),
        ("nothing/1", "There is no registered model “nothing”"),
        ("garbage", "“garbage” names no version"),
    ],
)
def test_a_link_to_what_is_not_there_gets_a_sentence_and_another_version(
    open_page: Open, register: Register, ref: str, sentence: str
) -> None:
    register()
    at = open_page("chat", ref=ref)
    assert not at.exception
    assert sentence in shown("\n".join(w.value for w in at.warning))
    assert at.selectbox(key="chat_ref").value == "phi3/1"
    assert not at.chat_input(key="chat_input").disabled


@pytest.mark.parametrize("ref", ["new/1", "phi3/2", "phi3@champion"])
def test_a_link_to_what_was_registered_a_moment_ago_finds_it(
    open_page: Open, register: Register, settings: Settings, ref: str
) -> None:
    register()
    open_page("chat")  # reads the registry
    register("new")
    register()
    set_alias(settings, "phi3/2", "champion")
    at = open_page("chat", ref=ref)
    assert not at.warning
    assert at.selectbox(key="chat_ref").value == ref
    assert at.query_params["ref"] == ref


def test_the_first_version_of_all_is_found_as_soon_as_it_is_there(open_page: Open, register: Register) -> None:
    open_page("chat")  # reads the empty registry
    register()
    assert open_page("chat", ref="phi3/1").selectbox(key="chat_ref").value == "phi3/1"


def test_choosing_another_version_keeps_the_conversation_and_asks_that_one(
    open_page: Open, register: Register, servers: FakePool, engine: fakes.FakeEngine
) -> None:
    register()
    register()
    at = open_page("chat")
    ask(at, "One")
    at.selectbox(key="chat_ref").set_value("phi3/1").run()
    ask(at, "Two")
    assert servers.opened == ["phi3/2", "phi3/1"]
    assert engine.prompts[-1].endswith("<user>One<assistant>The capital is Madrid.<user>Two")
