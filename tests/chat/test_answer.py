"""An answer as it comes: what it is asked with, its figures, stopping it, a server that dies."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phi3core.chat import model_client, stream
from phi3core.chat.conversation import Conversation
from phi3core.engine.interface import Done
from phi3core.errors import BadInput
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.servers import FakePool, HeldEngine
from tests.chat.asking import WORDS, ended
from tests.support import fakes

# ---------------------------------------------------------------- an answer


def test_an_answer_grows_piece_by_piece_and_ends_with_its_figures(
    talk: Conversation, pool: FakePool, engine: fakes.FakeEngine, version: Version
) -> None:
    engine.pause = 0.03
    live = talk.ask(version, "What is the capital of Spain?")
    lengths = [len(now.answer) for now in live.follow(every=0.0)]
    turn = live.turn
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
turn = talk.ask(reader.get_version(load_settings(), "phi3/1"), "Hello").wait()
print(turn.state, turn.answer, turn.error)
pool.close()
"""


def test_every_piece_of_a_processes_first_answer_arrives_before_the_next_one_is_made(version: Version) -> None:
    """The engine says nothing more until what it said is in the turn: what waits in a buffer fails the answer."""
    ran = subprocess.run(
        [sys.executable, "-c", _FIRST_ANSWER],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=250, check=False,
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
    """Tells no counts, as many a model from elsewhere."""

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


def test_a_seed_that_was_not_asked_for_is_drawn_sent_and_told(
    talk: Conversation, engine: fakes.FakeEngine, version: Version
) -> None:
    drawn = [ended(talk.ask(version, "Hello")).seed for _ in range(3)]
    assert [asked.seed for asked in engine.asked] == drawn
    assert len(set(drawn)) == 3
    assert ended(talk.ask(version, "Hello", options={"seed": 7})).seed == 7
    engine.supports = frozenset({"max_tokens"})
    model_client._properties.cache_clear()
    assert ended(talk.ask(version, "Hello")).seed is None  # a model that takes none is not sent one
    assert engine.asked[-1].seed is None


def test_a_stopped_answer_keeps_its_text_and_frees_the_conversation(settings: Settings, version: Version) -> None:
    held = HeldEngine(WORDS, hold_at=2)
    pool = FakePool(lambda ref: held)
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    live = talk.ask(version, "Hello")
    fakes.until(lambda: live.turn.answer == "The capital")
    live.stop()
    held.go.set()  # the server notices with the next token that its client is gone
    turn = ended(live)
    assert turn.state == "stopped"
    assert turn.answer.startswith("The capital")
    assert turn.error == ""
    assert not talk.running
    pool.close()


def test_an_answer_can_be_stopped_before_its_first_word(settings: Settings, version: Version) -> None:
    held = HeldEngine(WORDS, hold_at=0)
    pool = FakePool(lambda ref: held)
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    live = talk.ask(version, "Hello")
    fakes.until(lambda: held.holding.is_set())
    live.stop()
    turn = live.turn
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
    fakes.until(lambda: first.turn.answer)
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
