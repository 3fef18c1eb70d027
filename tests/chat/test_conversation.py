"""A conversation: asked in the background, followed, stopped, kept as traces."""

from __future__ import annotations

import dataclasses
import http.server
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phi3core import tags
from phi3core.chat import answer, conversation, history, stream
from phi3core.chat.answer import read_schema
from phi3core.chat.conversation import (
    Conversation,
    add_conversation,
    delete_conversation,
    find_moved_version,
    load_conversation,
    rename_conversation,
)
from phi3core.chat.search import search_conversations
from phi3core.chat.stream import stream_answer
from phi3core.endpoints.config import Endpoint
from phi3core.engine.interface import ALL_OPTIONS, Done, Piece
from phi3core.engine.interface import Token as EngineToken
from phi3core.errors import BadInput, NotFound
from phi3core.promotion.promote import promote
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.traces.turn import Origin, Token, Turn
from tests.app.servers import FakePool, HeldEngine
from tests.conftest import MODEL, Built
from tests.support import fakes

WORDS = ("The", " capital", " is", " Madrid", ".")


@pytest.fixture
def engine() -> fakes.FakeEngine:
    return fakes.FakeEngine(WORDS)


@pytest.fixture
def pool(engine: fakes.FakeEngine) -> Iterator[FakePool]:
    pool = FakePool(lambda ref: engine)
    yield pool
    pool.close()
    conversation._live.clear()


@pytest.fixture
def version(settings: Settings) -> Version:
    fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx"})
    return reader.resolve(settings, "phi3/1")


@pytest.fixture
def talk(settings: Settings, pool: FakePool) -> Conversation:
    return Conversation(settings, pool)  # type: ignore[arg-type]


def ended(turn: Turn) -> Turn:
    """The turn, once nothing more is written to it: neither on it nor in the store."""
    for _ in turn.follow(every=0.0):
        pass
    return turn


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


_FIRST_ANSWER = """
from phi3core.chat.conversation import Conversation
from phi3core.chat.search import search_conversations
from phi3core.registry import reader
from phi3core.settings import load_settings
from tests.app.servers import FakePool
from tests.support.fakes import FakeEngine, until

class Patient(FakeEngine):
    def stream(self, *asked):
        for item in super().stream(*asked):
            yield item
            until(lambda: talk.path[0].answer == "".join(self.words[:self.said]), 15)

pool = FakePool(lambda ref: Patient(pause=0.05))
talk = Conversation(load_settings(), pool)
for turn in talk.ask(reader.resolve(load_settings(), "phi3/1"), "Hello").follow():
    pass
print(turn.state, turn.answer, turn.error)
pool.close()
"""


def test_every_piece_of_a_processes_first_answer_arrives_before_the_next_one_is_made(version: Version) -> None:
    """The engine says nothing more until what it said is in the turn: what waits in a buffer fails the answer."""
    ran = subprocess.run(
        [sys.executable, "-c", _FIRST_ANSWER],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.stdout.strip() == "done Madrid is it.", ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("tokens", "seconds", "told"),
    [(5, 0.2, 20.0), (2, 0.025, 40.0), (5, 0.0004, 0.0), (1001, 0.11, 0.0), (1, 0.0, 0.0), (0, 0.0, 0.0)],
)
def test_a_speed_is_told_only_where_it_is_the_models(tokens: int, seconds: float, told: float) -> None:
    """An answer that comes in one burst tells how fast it is read, and nothing of how fast it was written."""
    assert stream._speed(tokens, seconds) == pytest.approx(told)


class UncountedEngine(fakes.FakeEngine):
    """Tells no counts, as many a model of somebody else."""

    def stream(self, *asked: Any) -> Iterator[Any]:
        for item in super().stream(*asked):
            yield Done(0, 0, counted=False) if isinstance(item, Done) else item


def test_counts_that_the_model_does_not_tell_are_in_no_turn_and_no_trace(settings: Settings, version: Version) -> None:
    pool = FakePool(lambda ref: UncountedEngine(WORDS, pause=0.03))
    talk = Conversation(settings, pool)  # type: ignore[arg-type]

    turn = ended(talk.ask(version, "Hello"))
    talk.settle()
    trace = mlflow_client(settings).get_trace(turn.trace_id)
    pool.close()

    assert (turn.state, turn.answer) == ("done", "The capital is Madrid.")
    assert (turn.prompt_tokens, turn.completion_tokens, turn.tokens_per_second) == (0, 0, 0)
    assert turn.first_token_ms > 0
    assert trace.info.token_usage is None
    assert "mlflow.chat.tokenUsage" not in trace.data.spans[0].attributes


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
    turn = ended(talk.ask(version, "Hello", options={"seed": None, "stop": None, "temperature": None}))
    assert dataclasses.replace(engine.asked[-1], seed=None, prompt_cache_key="") == engine.options
    assert turn.options == {}


def test_a_seed_that_nobody_asked_for_is_drawn_sent_and_told(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    drawn = [ended(talk.ask(version, "Hello")).seed for _ in range(3)]
    assert [asked.seed for asked in engine.asked] == drawn
    assert len(set(drawn)) == 3
    assert ended(talk.ask(version, "Hello", options={"seed": 7})).seed == 7
    engine.supports = frozenset({"max_tokens"})
    answer._props.cache_clear()
    assert ended(talk.ask(version, "Hello")).seed is None  # a model that takes none is not sent one
    assert engine.asked[-1].seed is None


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
    assert talk.path == []
    assert pool.opened == []


def test_a_second_question_waits_for_the_first_answer(settings: Settings, version: Version) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool = FakePool(lambda ref: held)
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    first = talk.ask(version, "One")
    fakes.until(lambda: first.answer)
    with pytest.raises(BadInput, match="still coming"):
        talk.ask(version, "Two")
    with pytest.raises(BadInput, match="still coming: wait for it, or stop it"):
        talk.ask_again(version)
    held.go.set()
    assert ended(first).answer == "The capital is Madrid."
    assert len(talk.tree) == 1
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


def test_messages_leave_out_a_question_that_got_no_answer_and_raw_prompts(settings: Settings, pool: FakePool) -> None:
    turns = [
        Turn("One", "phi3/1", answer="First.", state="done"),
        Turn("Two", "phi3/1", state="failed", error="It died."),
        Turn("<user>x", "phi3/1", answer="raw", raw=True, state="done"),
        Turn("Three", "phi3/1", answer="Thi", state="stopped"),
    ]
    for before, after in itertools.pairwise(turns):
        after.parent = before.id
    talk = Conversation(settings, pool, turns=turns)  # type: ignore[arg-type]
    assert talk.messages("  ") == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": "Three"},
        {"role": "assistant", "content": "Thi"},
    ]
    assert talk.messages("Be kind.")[0] == {"role": "system", "content": "Be kind."}
    assert talk.messages(forget=3)[0]["content"] == "Three"


def test_asking_again_puts_a_new_answer_beside_the_old_one(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    first = ended(talk.ask(version, "One"))
    second = ended(talk.ask(version, "Two", "Sys", {"temperature": 0.9}))
    engine.words = ("Another", " one")
    again = ended(talk.ask_again(version))
    assert [turn.answer for turn in talk.path] == ["The capital is Madrid.", "Another one"]
    assert (again.question, again.system, again.options) == ("Two", "Sys", {"temperature": 0.9})
    assert again.seed != second.seed
    assert engine.prompts[-1] == "<system>Sys<user>One<assistant>The capital is Madrid.<user>Two"
    assert talk.siblings(second) == talk.siblings(again) == [second, again]
    assert list(talk.tree.values()) == [first, second, again]


def test_an_edited_question_is_a_sibling_and_nothing_below_the_old_one_is_lost(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    first = ended(talk.ask(version, "One"))
    second = ended(talk.ask(version, "Two"))
    third = ended(talk.ask(version, "Three"))
    edited = ended(talk.ask_again(version, turn=second, question="Zwei"))
    assert engine.prompts[-1] == "<user>One<assistant>The capital is Madrid.<user>Zwei"
    assert talk.path == [first, edited]
    assert talk.selected == ""  # a path leads there by itself
    talk.select(second)
    assert talk.path == [first, second, third]
    assert talk.selected == third.id
    talk.select(edited.id)
    assert talk.path == [first, edited]
    with pytest.raises(NotFound, match="not in this conversation"):
        talk.select("gone")
    talk.select(first)  # its most recent leaf
    assert talk.path == [first, edited]


def test_a_question_can_be_asked_from_any_earlier_turn_and_from_the_beginning(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    first = ended(talk.ask(version, "One"))
    second = ended(talk.ask(version, "Two"))
    beside = ended(talk.ask(version, "Drei", parent=first))
    assert talk.path == [first, beside]
    assert talk.siblings(beside) == [second, beside]
    anew = ended(talk.ask(version, "Afresh", parent=""))
    assert talk.path == [anew]
    assert engine.prompts[-1] == "<user>Afresh"
    with pytest.raises(NotFound, match="not in this conversation"):
        talk.ask(version, "Four", parent="0" * 32)
    assert len(talk.tree) == 4


def test_a_branch_is_a_conversation_of_its_own_that_knows_where_it_came_from(
    settings: Settings, talk: Conversation, pool: FakePool, version: Version
) -> None:
    first = ended(talk.ask(version, "One"))
    second = ended(talk.ask(version, "Two"))
    talk.rate(second, True, "Good.")
    ended(talk.ask(version, "Three"))
    other = talk.branch(second)
    assert [turn.question for turn in other.path] == ["One", "Two"]
    assert [turn.copy_of for turn in other.path] == [first.id, second.id]
    assert not {turn.id for turn in other.path} & set(talk.tree)
    assert other.path[1].thumb is None  # the opinion was of the original
    ended(other.ask(version, "Four"))
    assert [turn.question for turn in talk.path] == ["One", "Two", "Three"]
    conversation._live.clear()
    found = load_conversation(settings, pool, other.id)  # type: ignore[arg-type]
    assert [turn.question for turn in found.path] == ["One", "Two", "Four"]
    assert found.origin == Origin("branch", talk.id, second.id)


def test_asking_again_without_an_answer_is_refused(talk: Conversation, version: Version) -> None:
    with pytest.raises(BadInput, match="no answer"):
        talk.ask_again(version)


def test_several_answers_at_once_are_refused(talk: Conversation, version: Version) -> None:
    with pytest.raises(BadInput, match="one answer at a time"):
        talk.ask(version, "Hello", options={"n": 2})


# ---------------------------------------------------------------- a full context


def test_a_full_context_is_told_and_goes_on_without_the_oldest_turns(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    first, second = ended(talk.ask(version, "a" * 60)), ended(talk.ask(version, "b" * 40))
    question = "c" * 60
    full = ended(talk.ask(version, question))
    assert (full.state, full.full, full.answer) == ("failed", True, "")
    assert "context holds 200" in full.error

    forget = talk.count_turns_to_forget(talk._pool.open(version), "", question, parent=second, room=20)
    assert forget == 1
    went_on = ended(talk.ask_again(version, forget=forget))
    assert (went_on.state, went_on.full, went_on.forgot) == ("done", False, 1)
    assert "aaa" not in engine.prompts[-1]
    assert "bbb" in engine.prompts[-1]
    assert talk.siblings(went_on) == [full, went_on]

    ended(talk.ask(version, "Next"))  # the choice stands for what follows it
    assert talk.path[-1].forgot == 1
    assert "aaa" not in engine.prompts[-1]
    ended(talk.ask(version, "Next", parent=first))  # and for nothing else
    assert talk.path[-1].forgot == 0


def test_another_failure_is_not_a_full_context(talk: Conversation, engine: fakes.FakeEngine, version: Version) -> None:
    engine.fail_at = 0
    assert ended(talk.ask(version, "Hello")).full is False


def test_the_fullness_of_the_context_is_measured_by_the_server(
    talk: Conversation, pool: FakePool, engine: fakes.FakeEngine, version: Version
) -> None:
    server = pool.open(version)
    fakes.until(lambda: server.status().state == "ready")
    asked = ended(talk.ask(version, "One", "Sys"))
    assert talk.count_tokens(server, "Sys", "Two") == (
        len("<system>Sys<user>One<assistant><user>Two" + asked.answer),
        200,
    )
    assert talk.count_turns_to_forget(server, "", "x" * 300) is None
    empty = Conversation(talk._settings, talk._pool)
    assert empty.count_tokens(server) == (0, 200)
    server.close()
    assert talk.count_tokens(server, "Sys", "Two") == (None, None)  # a page must draw all the same


# ---------------------------------------------------------------- other ways to ask


def test_a_raw_prompt_is_sent_as_it_is_and_later_messages_leave_it_out(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    ended(talk.ask(version, "One"))
    raw = ended(
        talk.ask(version, "<user>Say", "Sys", {"temperature": 0.1, "logprobs": True, "top_logprobs": 2}, raw=True)
    )
    assert (raw.answer, raw.prompt, raw.state) == ("The capital is Madrid.", "<user>Say", "done")
    assert engine.prompts[-1] == "<user>Say"
    assert (engine.asked[-1].temperature, engine.asked[-1].logprobs) == (0.1, 2)
    assert raw.prompt_tokens == len("<user>Say")
    ended(talk.ask(version, "Two"))
    assert "Say" not in engine.prompts[-1]


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({}, '{"type": "object"}'),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '"properties"'),
    ],
)
def test_json_mode_asks_for_the_schema(
    talk: Conversation, engine: fakes.FakeEngine, version: Version, schema: dict[str, Any], sent: str
) -> None:
    turn = ended(talk.ask(version, "Hello", schema=schema))
    assert turn.state == "done", turn.error
    assert sent in str(engine.asked[-1].json_schema)
    assert turn.schema == schema
    again = ended(talk.ask_again(version))
    assert again.schema == schema


def test_a_schema_that_is_none_is_told_before_anything_is_asked() -> None:
    assert read_schema('{"type": "object"}') == {"type": "object"}
    assert read_schema("  ") == {}
    with pytest.raises(BadInput, match="no JSON"):
        read_schema("{type}")
    with pytest.raises(BadInput, match="must be a JSON object"):
        read_schema("[1]")


def test_probabilities_are_kept_for_each_token(settings: Settings, pool: FakePool, version: Version) -> None:
    class Telling(fakes.FakeEngine):
        def stream(self, prompt: Any, options: Any, stopped: Any) -> Iterator[Any]:
            for item in super().stream(prompt, options, stopped):
                if isinstance(item, Piece) and options.logprobs is not None:
                    item = Piece(item.text, 0, (EngineToken(item.text, -0.5, ((item.text, -0.5), (" no", -2.0))),))
                yield item

    pool.engines = lambda ref: Telling(WORDS)
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    turn = ended(talk.ask(version, "Hello", options={"logprobs": True, "top_logprobs": 2}))
    assert turn.tokens[0] == Token("The", -0.5, (("The", -0.5), (" no", -2.0)))
    assert "".join(token.text for token in turn.tokens) == turn.answer
    raw = ended(talk.ask(version, "Hello", options={"logprobs": True, "top_logprobs": 2}, raw=True))
    assert raw.tokens == turn.tokens
    history.flush(settings)
    conversation._live.clear()
    assert load_conversation(settings, pool, talk.id).path == [turn, raw]  # type: ignore[arg-type]


def test_a_model_of_one_text_is_sent_the_last_question_alone_and_the_turn_says_so(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    engine.chat = "prompt"
    engine.prepare = lambda messages: messages[-1]["content"] if len(messages) == 1 else "too many"  # type: ignore[method-assign]
    first = ended(talk.ask(version, "One"))
    assert first.note == ""
    second = ended(talk.ask(version, "Two", "Be brief."))
    assert (second.state, engine.prompts[-1]) == ("done", "Two")
    assert second.note == (
        "This model takes one text and no conversation: the system prompt and what was said before was not sent."
    )


def test_a_model_that_holds_no_conversations_says_so(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    engine.chat = "none"
    turn = ended(talk.ask(version, "One"))
    assert turn.state == "failed"
    assert "holds no conversations" in turn.error


# ---------------------------------------------------------------- pinned


def test_a_conversation_tells_when_its_stage_has_moved_to_another_version(
    settings: Settings, talk: Conversation, version: Version
) -> None:
    promote(settings, "phi3/1", "Production")
    assert find_moved_version(settings, talk) is None
    turn = ended(talk.ask(version, "One", asked_ref="phi3/Production"))
    assert (talk.asked_ref, talk.ref, turn.asked_ref, turn.ref) == (
        "phi3/Production",
        "phi3/1",
        "phi3/Production",
        "phi3/1",
    )
    assert find_moved_version(settings, talk) is None
    fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx"})
    promote(settings, "phi3/2", "Production")
    assert find_moved_version(settings, talk) == "phi3/2"
    ended(talk.ask(version, "Two", asked_ref="phi3/1"))  # pinned by hand: it stays
    assert find_moved_version(settings, talk) is None


# ---------------------------------------------------------------- stopping at once


def test_stopping_hangs_up_on_a_server_that_has_said_nothing_yet(settings: Settings, version: Version) -> None:
    """A server that takes the request and then keeps silent, not even an HTTP status, must not hold up a stop."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def keep_silent() -> None:
            connection, _ = listening.accept()
            connection.recv(10)
            asked.set()
            while connection.recv(65536):
                pass
            connection.close()

        threading.Thread(target=keep_silent, daemon=True).start()
        turn = Turn("Hello", "endpoint:mute")
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        answer_again = lambda: stream_answer(url, "none", "mute", turn, [{"role": "user", "content": "Hello"}])  # noqa: E731

        def run() -> None:
            with pytest.raises(Exception, match="."):
                answer_again()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert asked.wait(10)
        began = time.monotonic()
        turn.stop()
        thread.join(5)
        assert not thread.is_alive()
        assert time.monotonic() - began < 2


# ---------------------------------------------------------------- a server that dies


def test_a_server_that_dies_in_mid_answer_leaves_the_text_and_a_way_on(
    talk: Conversation, pool: FakePool, engine: fakes.FakeEngine, version: Version
) -> None:
    engine.pause = 0.05  # a word at a time
    pool.die_after = 2
    turn = ended(talk.ask(version, "What is the capital of Spain?"))
    assert turn.state == "failed"
    assert turn.answer.startswith("The")
    assert len(turn.answer) < len("The capital is Madrid.")
    assert "died in mid-answer" in turn.error
    assert "killed (signal 9)" in turn.error
    assert "conversation is kept" in turn.error
    assert "Traceback" not in turn.error

    again = ended(talk.ask_again(version))
    assert (again.state, again.answer, again.error) == ("done", "The capital is Madrid.", "")
    assert talk.path == [again]
    assert talk.siblings(again) == [turn, again]
    assert pool.opened == ["phi3/1", "phi3/1"]


def test_an_engine_that_breaks_in_mid_answer_is_told_in_its_own_words(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    engine.fail_at = 2
    turn = ended(talk.ask(version, "Hello"))
    assert (turn.state, turn.answer) == ("failed", "The capital")
    assert "the runtime broke" in turn.error


# ---------------------------------------------------------------- endpoints


@pytest.fixture
def endpoint(pool: FakePool, version: Version) -> Endpoint:
    """A model server of ours, as one would name that of somebody else."""
    server = pool.open(version)
    fakes.until(lambda: server.status().state == "ready")
    return Endpoint("mine", "openai", f"{server.url}/v1", model="phi3/1", key=server.key)


def test_an_endpoint_that_speaks_openais_protocol_answers_as_a_version_does(
    settings: Settings, talk: Conversation, pool: FakePool, engine: fakes.FakeEngine, version: Version,
    endpoint: Endpoint,
) -> None:  # fmt: skip
    ended(talk.ask(version, "One"))
    pool.opened.clear()
    turn = ended(talk.ask(endpoint, "Two", "Sys", {"temperature": 0.5, "top_k": 3}))
    assert (turn.state, turn.answer, turn.ref, turn.error) == ("done", "The capital is Madrid.", "endpoint:mine", "")
    assert (engine.asked[-1].temperature, engine.asked[-1].top_k, engine.asked[-1].seed) == (0.5, 3, turn.seed)
    assert engine.prompts[-1] == "<system>Sys<user>One<assistant>The capital is Madrid.<user>Two"
    assert turn.completion_tokens == len(WORDS)
    assert pool.opened == []
    assert talk.count_tokens(endpoint, "Sys", "Three")[1] == 200
    assert find_moved_version(settings, talk) is None
    assert ended(talk.ask(endpoint, "Raw", raw=True)).prompt == engine.prompts[-1] == "Raw"
    assert ended(talk.ask(endpoint, "x" * 300)).full


def test_an_endpoint_that_refuses_a_seed_is_asked_without_one_unless_somebody_chose_it(
    talk: Conversation, engine: fakes.FakeEngine, endpoint: Endpoint
) -> None:
    engine.supports = ALL_OPTIONS - {"seed"}

    turn = ended(talk.ask(endpoint, "Hello"))
    chosen = ended(talk.ask(endpoint, "Hello", options={"seed": 7}))

    assert (turn.state, turn.seed, turn.error) == ("done", None, "")
    assert (chosen.state, chosen.seed) == ("failed", 7)
    assert "This model does not support seed" in chosen.error


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"key": "wrong-key"}, "mine refused the key (401). Check it in [endpoints.mine]."),
        ({"model": "other"}, "not served here"),
        ({"url": "http://127.0.0.1:9/v1"}, "mine can't be reached: "),
    ],
)
def test_an_endpoint_that_does_not_answer_is_told_without_its_key(
    talk: Conversation, endpoint: Endpoint, change: dict[str, str], told: str
) -> None:
    turn = ended(talk.ask(dataclasses.replace(endpoint, **change), "Hello"))
    assert turn.state == "failed"
    assert told in turn.error
    assert "wrong-key" not in turn.error
    assert endpoint.key not in turn.error


class _Scoring(http.server.BaseHTTPRequestHandler):
    """An MLflow model behind a scoring URL, or what redirects to another address."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        if self.path.startswith("/moved"):
            self.send_response(307)
            self.send_header("Location", "/elsewhere/v1/chat/completions")
            self.end_headers()
            return
        answer = json.dumps({"predictions": ["Madrid."]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def scoring() -> Iterator[tuple[str, list[Any]]]:
    """The address of such a server, and what it was sent."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Scoring) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", server.seen  # type: ignore[attr-defined]
        server.shutdown()


def test_a_scoring_endpoint_of_one_text_is_sent_the_last_question_alone(
    talk: Conversation, version: Version, scoring: tuple[str, list[Any]]
) -> None:
    url, seen = scoring
    endpoint = Endpoint("far", "mlflow", f"{url}/invocations", task="prompt")
    ended(talk.ask(version, "One"))
    turn = ended(talk.ask(endpoint, "Two", options={"temperature": 0.5}))
    assert (turn.state, turn.answer, turn.error) == ("done", "Madrid.", "")
    assert "was not sent" in turn.note
    assert turn.seed is None  # nobody asked for one, and who knows what the model makes of it
    assert "Two" in str(seen[-1][1])
    assert "One" not in str(seen[-1][1])
    assert turn.first_token_ms > 0
    raw = ended(talk.ask(dataclasses.replace(endpoint, task="chat"), "Raw", raw=True))
    assert (raw.state, "messages only" in raw.error) == ("failed", True)


def test_a_key_does_not_follow_a_redirect(talk: Conversation, scoring: tuple[str, list[Any]]) -> None:
    url, seen = scoring
    endpoint = Endpoint("mine", "openai", f"{url}/moved/v1", model="m", key="a-key")
    turn = ended(talk.ask(endpoint, "Hello"))
    assert "mine redirects elsewhere, and the key is not sent on" in turn.error
    assert talk.count_tokens(endpoint) == (None, None)
    assert {path.split("/")[1] for path, _, _ in seen} == {"moved"}


# ---------------------------------------------------------------- live


def test_the_live_conversation_is_found_with_its_running_answer(settings: Settings, version: Version) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool = FakePool(lambda ref: held)
    talk = add_conversation(Conversation(settings, pool))  # type: ignore[arg-type]
    turn = talk.ask(version, "Hello")
    fakes.until(lambda: turn.answer)
    found = load_conversation(settings, pool, talk.id)  # type: ignore[arg-type]
    assert found is talk
    assert found.current is turn
    with pytest.raises(BadInput, match="still coming"):
        found.branch(turn)
    with pytest.raises(BadInput, match="still coming"):
        found.rate(turn, True)
    held.go.set()
    assert ended(found.path[-1]).answer == "The capital is Madrid."
    assert found.current is None
    pool.close()


def test_a_live_conversation_that_is_renamed_by_its_id_has_the_title_at_once_and_keeps_it(
    settings: Settings, pool: FakePool, version: Version
) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool.engines = lambda ref: held
    talk = add_conversation(Conversation(settings, pool))  # type: ignore[arg-type]
    turn = talk.ask(version, "Hello")
    fakes.until(lambda: turn.answer)
    rename_conversation(settings, talk.id, " Named\nnow ")
    assert talk.title == "Named now"
    assert history.flush(settings)  # nothing of it is in the store yet
    held.go.set()
    ended(turn)
    talk.settle()
    assert search_conversations(settings).conversations[0].title == "Named now"


def test_an_address_that_is_none_and_one_that_is_unknown_each_get_a_sentence(
    settings: Settings, pool: FakePool
) -> None:
    with pytest.raises(BadInput, match="not a conversation's address"):
        load_conversation(settings, pool, "' OR 1=1")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="not in the store"):
        load_conversation(settings, pool, "0" * 32)  # type: ignore[arg-type]


def test_deleting_a_conversation_stops_its_answer_and_what_still_comes_is_not_saved(
    settings: Settings, version: Version
) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool = FakePool(lambda ref: held)
    talk = add_conversation(Conversation(settings, pool))  # type: ignore[arg-type]
    turn = talk.ask(version, "Hello")
    fakes.until(lambda: turn.answer)
    delete_conversation(settings, talk.id)
    held.go.set()
    assert ended(turn).state == "stopped"
    talk.settle()
    with pytest.raises(NotFound):
        load_conversation(settings, pool, talk.id)  # type: ignore[arg-type]
    assert list(settings.outbox.iterdir()) == []
    pool.close()


def test_a_turn_that_cannot_be_saved_still_stands_and_says_so(
    settings: Settings, talk: Conversation, version: Version
) -> None:
    settings.outbox.rmdir()
    settings.outbox.write_text("no folder")
    turn = ended(talk.ask(version, "Hello"))
    assert (turn.state, turn.answer) == ("done", "The capital is Madrid.")
    assert "could not be saved: " in turn.error


# ---------------------------------------------------------------- a real model


@pytest.mark.model
def test_a_real_version_answers_again_by_its_seed_in_json_raw_and_with_probabilities(built: Built) -> None:
    config = built.settings
    version = reader.resolve(config, f"{MODEL}/2")
    pool = Pool(config)
    try:
        talk = Conversation(config, pool)
        options = {"max_tokens": 16, "temperature": 0.8, "logprobs": True, "top_logprobs": 3}
        first = ended(talk.ask(version, "What is the capital of France?", "Be brief.", options))
        assert (first.state, first.error) == ("done", "")
        assert first.answer.strip()
        assert first.prompt.startswith("<|im_start|>system\nBe brief.")
        assert first.model_id.startswith("m-")
        assert "".join(token.text for token in first.tokens) == first.answer
        assert all(len(token.top) == 3 and token.logprob <= 0 for token in first.tokens)
        assert (first.prompt_tokens, first.completion_tokens) > (10, 1)

        again = ended(talk.ask_again(version, options=options | {"seed": first.seed}))
        assert again.answer == first.answer
        assert ended(talk.ask(version, "And of Spain?", "Be brief.", {"max_tokens": 8})).cached_tokens > 0

        structured = ended(talk.ask(version, "Give me an object with a number n.", schema={
            "type": "object", "properties": {"n": {"type": "integer", "maximum": 99}}, "required": ["n"],
            "additionalProperties": False,
        }))  # fmt: skip
        assert isinstance(json.loads(structured.answer)["n"], int), structured

        raw = ended(
            talk.ask(version, "The capital of France is", raw=True, options={"max_tokens": 4, "temperature": 0})
        )
        assert (raw.state, raw.prompt) == ("done", "The capital of France is")
        assert raw.answer

        tokens, context = talk.count_tokens(pool.open(version), "Be brief.", "And?")
        assert context == 8192
        assert tokens is not None
        assert 20 < tokens < 200
        full = ended(talk.ask(version, "word " * 9000, parent=""))
        assert (full.state, full.full) == ("failed", True), full.error

        talk.settle()
        found = mlflow_client(config).search_traces(
            locations=[experiment_id(config, tags.CONVERSATIONS)],
            filter_string=f"request_metadata.`mlflow.modelId` = '{version.source.removeprefix('models:/')}'",
        )
        assert first.trace_id in [trace.info.trace_id for trace in found]
    finally:
        pool.close()
