"""A conversation: asked in the background, followed, stopped, kept as traces."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from phi3core import chat, keys, registry
from phi3core.chat import Conversation, Turn
from phi3core.errors import BadInput, NotFound
from phi3core.registry import Version
from phi3core.settings import Settings

from . import fakes
from .app.servers import FakePool, HeldEngine

WORDS = ("The", " capital", " is", " Madrid", ".")


@pytest.fixture
def engine() -> fakes.FakeEngine:
    return fakes.FakeEngine(WORDS)


@pytest.fixture
def pool(engine: fakes.FakeEngine) -> Iterator[FakePool]:
    pool = FakePool(lambda ref: engine)
    yield pool
    pool.close()
    chat._live.clear()


@pytest.fixture
def version(settings: Settings) -> Version:
    fakes.register(settings, "phi3", tags={keys.WRAPPER: "onnx"})
    return registry.resolve(settings, "phi3/1")


@pytest.fixture
def talk(settings: Settings, pool: FakePool) -> Conversation:
    return Conversation(settings, pool)  # type: ignore[arg-type]


def ended(turn: Turn) -> Turn:
    """The turn, once nothing more is written to it: neither on it nor in the store."""
    for _ in turn.follow(every=0.0):
        pass
    return turn


def saved(settings: Settings, id: str) -> list[Any]:
    from phi3core.store import client, experiment

    home = experiment(settings, keys.CONVERSATIONS)
    wanted = f"metadata.`mlflow.trace.session` = '{id}'"
    return list(client(settings).search_traces(locations=[home], filter_string=wanted, flush=True))


# ---------------------------------------------------------------- an answer


def test_an_answer_grows_piece_by_piece_and_ends_with_its_figures(
    talk: Conversation, pool: FakePool, engine: fakes.FakeEngine, version: Version
) -> None:
    engine.pause = 0.03
    turn = talk.ask(version, "What is the capital of Spain?")
    lengths = [len(now.answer) for now in turn.follow(every=0.0)]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) >= 3, lengths
    assert (turn.answer, turn.state, turn.finish_reason) == ("The capital is Madrid.", "done", "stop")
    assert turn.completion_tokens == len(WORDS)
    assert turn.prompt_tokens == len("<user>What is the capital of Spain?")
    assert turn.first_token_ms > 0
    assert turn.tokens_per_second > 0
    assert turn.prompt == "<user>What is the capital of Spain?"
    assert pool.opened == ["phi3/1"]


def test_what_is_asked_for_reaches_the_engine(talk: Conversation, engine: fakes.FakeEngine, version: Version) -> None:
    options = {
        "temperature": 0.7,
        "top_p": 0.5,
        "top_k": 7,
        "repetition_penalty": 1.2,
        "max_tokens": 3,
        "seed": 11,
        "stop": ["END"],
    }
    turn = ended(talk.ask(version, "Hello", "Be brief.", options))
    asked = engine.asked[-1]
    assert {name: getattr(asked, name) for name in options} == {**options, "stop": ("END",)}
    assert engine.prompts[-1] == "<system>Be brief.<user>Hello"
    assert (turn.answer, turn.finish_reason) == ("The capital is", "length")


def test_an_option_left_open_takes_the_versions_own(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    ended(talk.ask(version, "Hello", options={"seed": None, "stop": None, "temperature": None}))
    assert engine.asked[-1] == engine.options


def test_a_stopped_answer_keeps_its_text_and_frees_the_conversation(settings: Settings, version: Version) -> None:
    held = HeldEngine(WORDS, hold_at=2)
    pool = FakePool(lambda ref: held)
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    turn = talk.ask(version, "Hello")
    fakes.until(lambda: turn.answer == "The capital")
    turn.stop()
    held.go.set()  # the server notices that nobody reads any more with the next token
    ended(turn)
    assert turn.state == "stopped"
    assert turn.answer.startswith("The capital")
    assert turn.error == ""
    assert not talk.running
    pool.close()


def test_an_answer_can_be_stopped_before_its_first_word(settings: Settings, version: Version) -> None:
    held = HeldEngine(WORDS, hold_at=0)
    pool = FakePool(lambda ref: held)
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    turn = talk.ask(version, "Hello")
    fakes.until(lambda: held.holding.is_set())
    turn.stop()
    talk.settle()
    assert (turn.state, turn.answer, turn.error) == ("stopped", "", "")
    held.go.set()
    pool.close()


@pytest.mark.parametrize("empty", ["", "   ", "\n\t"])
def test_an_empty_message_is_refused_with_a_sentence(
    talk: Conversation, pool: FakePool, version: Version, empty: str
) -> None:
    with pytest.raises(BadInput, match="empty: write something"):
        talk.ask(version, empty)
    assert talk.turns == []
    assert pool.opened == []


def test_a_second_question_waits_for_the_first_answer(settings: Settings, version: Version) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool = FakePool(lambda ref: held)
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    first = talk.ask(version, "One")
    fakes.until(lambda: first.answer)
    with pytest.raises(BadInput, match="still coming"):
        talk.ask(version, "Two")
    with pytest.raises(BadInput, match="no answer to ask for again"):
        talk.again(version)
    held.go.set()
    assert ended(first).answer == "The capital is Madrid."
    assert len(talk.turns) == 1
    pool.close()


def test_a_prompt_that_fills_the_context_says_so_in_the_turn(talk: Conversation, version: Version) -> None:
    turn = ended(talk.ask(version, "long " * 100))
    assert turn.state == "failed"
    assert "context holds 200" in turn.error
    assert turn.answer == ""


# ---------------------------------------------------------------- several turns


def test_a_conversation_is_sent_whole_with_the_system_prompt_of_now(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    ended(talk.ask(version, "One", "Old"))
    ended(talk.ask(version, "Two", "New"))
    assert engine.prompts[-1] == "<system>New<user>One<assistant>The capital is Madrid.<user>Two"


def test_messages_leave_out_a_question_that_got_no_answer(talk: Conversation) -> None:
    talk.turns = [
        Turn("One", "phi3/1", answer="First.", state="done"),
        Turn("Two", "phi3/1", state="failed", error="It died."),
        Turn("Three", "phi3/1", answer="Thi", state="stopped"),
    ]
    assert talk.messages("  ") == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": "Three"},
        {"role": "assistant", "content": "Thi"},
    ]
    assert talk.messages("Be kind.")[0] == {"role": "system", "content": "Be kind."}


def test_asking_again_puts_a_new_answer_in_place_of_the_old_one(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    ended(talk.ask(version, "One"))
    ended(talk.ask(version, "Two", "Sys", {"temperature": 0.9}))
    engine.words = ("Another", " one")
    again = ended(talk.again(version))
    assert [turn.answer for turn in talk.turns] == ["The capital is Madrid.", "Another one"]
    assert (again.question, again.system, again.options) == ("Two", "Sys", {"temperature": 0.9})
    assert engine.prompts[-1] == "<system>Sys<user>One<assistant>The capital is Madrid.<user>Two"


def test_asking_again_without_an_answer_is_refused(talk: Conversation, version: Version) -> None:
    with pytest.raises(BadInput, match="no answer"):
        talk.again(version)


# ---------------------------------------------------------------- a server that dies


def test_a_server_that_dies_in_mid_answer_leaves_the_text_and_a_way_on(
    talk: Conversation, pool: FakePool, version: Version
) -> None:
    pool.die_after = 2
    turn = ended(talk.ask(version, "What is the capital of Spain?"))
    assert turn.state == "failed"
    assert turn.answer == "The capital"
    assert "died in mid-answer" in turn.error
    assert "killed (signal 9)" in turn.error
    assert "conversation is kept" in turn.error
    assert "Traceback" not in turn.error

    again = ended(talk.again(version))
    assert (again.state, again.answer, again.error) == ("done", "The capital is Madrid.", "")
    assert len(talk.turns) == 1
    assert pool.opened == ["phi3/1", "phi3/1"]


def test_an_engine_that_breaks_in_mid_answer_is_told_in_its_own_words(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    engine.fail_at = 2
    turn = ended(talk.ask(version, "Hello"))
    assert (turn.state, turn.answer) == ("failed", "The capital")
    assert "the runtime broke" in turn.error


# ---------------------------------------------------------------- kept as traces


def test_a_turn_is_saved_as_one_trace_of_the_conversations_session(
    settings: Settings, talk: Conversation, version: Version
) -> None:
    turn = ended(talk.ask(version, "Hello", "Be brief.", {"temperature": 0.5}))
    (trace,) = fakes.until(lambda: saved(settings, talk.id))
    span = trace.data.spans[0]
    assert trace.info.tags[keys.VERSION] == "phi3/1"
    assert span.inputs["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    assert span.inputs["temperature"] == 0.5
    assert span.outputs["answer"] == turn.answer
    assert str(trace.info.state).endswith("OK")
    assert trace.info.token_usage["output_tokens"] == len(WORDS)


def test_a_conversation_comes_back_from_the_store_when_memory_has_lost_it(
    settings: Settings, talk: Conversation, pool: FakePool, version: Version
) -> None:
    first = ended(talk.ask(version, "One"))
    second = ended(talk.ask(version, "Two", "Sys", {"temperature": 0.5}))
    fakes.until(lambda: len(saved(settings, talk.id)) == 2)
    chat._live.clear()
    found = chat.load(settings, pool, talk.id)  # type: ignore[arg-type]
    assert found is not talk
    assert found.turns == [first, second]
    ended(found.ask(version, "Three"))  # and it goes on
    assert [turn.question for turn in found.turns] == ["One", "Two", "Three"]


def test_another_process_reads_the_same_conversation(
    settings: Settings, talk: Conversation, pool: FakePool, version: Version
) -> None:
    pool.die_after = 2
    ended(talk.ask(version, "What is the capital of Spain?"))
    ended(talk.again(version))
    fakes.until(lambda: len(saved(settings, talk.id)) == 2)
    script = (
        "import json, sys; from phi3core import chat, settings; from dataclasses import asdict;"
        "found = chat.load(settings.load(), None, sys.argv[1]);"
        "print(json.dumps([asdict(turn) for turn in found.turns]))"
    )
    run = subprocess.run([sys.executable, "-c", script, talk.id], capture_output=True, text=True, check=True)
    (turn,) = json.loads(run.stdout)
    assert (turn["question"], turn["answer"], turn["state"]) == (
        "What is the capital of Spain?",
        "The capital is Madrid.",  # the later answer to the same question stands
        "done",
    )


def test_the_live_conversation_is_found_with_its_running_answer(settings: Settings, version: Version) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool = FakePool(lambda ref: held)
    talk = chat.keep(Conversation(settings, pool))  # type: ignore[arg-type]
    turn = talk.ask(version, "Hello")
    fakes.until(lambda: turn.answer)
    found = chat.load(settings, pool, talk.id)  # type: ignore[arg-type]
    assert found is talk
    assert found.running
    held.go.set()
    assert ended(found.turns[-1]).answer == "The capital is Madrid."
    pool.close()


def test_an_address_that_is_none_and_one_that_is_unknown_each_get_a_sentence(
    settings: Settings, pool: FakePool
) -> None:
    with pytest.raises(BadInput, match="not a conversation's address"):
        chat.load(settings, pool, "' OR 1=1")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="not in the store"):
        chat.load(settings, pool, "0" * 32)  # type: ignore[arg-type]


def test_a_turn_that_cannot_be_saved_still_stands_and_says_so(
    settings: Settings, talk: Conversation, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(talk, "_save", full)
    turn = ended(talk.ask(version, "Hello"))
    fakes.until(lambda: turn.error)
    assert (turn.state, turn.answer) == ("done", "The capital is Madrid.")
    assert "could not be saved: No space left" in turn.error
