"""A conversation asked once more, and the answers compared."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from phi3core import tags
from phi3core.chat import import_export, live_conversations, replay
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import load_conversation
from phi3core.chat.replay import Replay
from phi3core.chat.search import search_conversations
from phi3core.endpoints.config import Endpoint
from phi3core.errors import BadInput
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.traces.turn import Origin
from tests.app.servers import FakePool, HeldEngine
from tests.chat.asking import WORDS, ended
from tests.support import fakes


@pytest.fixture
def version(settings: Settings) -> Version:
    for _ in range(2):
        fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx"})
    return reader.get_version(settings, "phi3/1")


@pytest.fixture
def talk(settings: Settings, pool: FakePool, version: Version) -> Conversation:
    """Three turns with different ways to ask."""
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    ended(talk.ask(version, "One", "Sys", {"temperature": 0.5, "seed": 3}))
    ended(talk.ask(version, "Two"))
    ended(talk.ask(version, "<user>Three", raw=True))
    return talk


def finished(again: Replay) -> Replay:
    for _ in again.follow(every=0.02):
        pass
    return again


def test_a_replay_asks_the_same_questions_with_the_recorded_history_parameters_and_seeds(
    settings: Settings, talk: Conversation, engine: fakes.FakeEngine
) -> None:
    prompts, asked = list(engine.prompts), list(engine.asked)
    engine.words = ("Something", " else")
    again = finished(replay.start(talk, reader.get_version(settings, "phi3/2")))
    assert (again.state, again.done, again.total, again.error) == ("done", 3, 3, "")
    assert engine.prompts[3:] == prompts  # with the recorded answers in them, not the new ones
    assert [replace(options, prompt_cache_key="") for options in engine.asked[3:]] == [
        replace(options, prompt_cache_key="") for options in asked
    ]
    assert [turn.answer for turn in again.conversation.path] == ["Something else"] * 3
    assert {turn.ref for turn in again.conversation.path} == {"phi3/2"}
    assert [turn.answer for turn in talk.path] == ["The capital is Madrid."] * 3


class ModestEngine(fakes.FakeEngine):
    """Takes fewer options, as a model from elsewhere."""

    supports = frozenset({"max_tokens", "temperature", "n"})


def test_what_the_target_does_not_take_is_left_out_and_the_turn_says_so(settings: Settings, version: Version) -> None:
    modest, full = ModestEngine(WORDS), fakes.FakeEngine(WORDS)
    pool = FakePool(lambda ref: modest if ref == "phi3/2" else full)
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    asked = {"temperature": 0.5, "top_k": 3, "presence_penalty": 0.0, "seed": 3, "logprobs": True, "top_logprobs": 2}
    ended(talk.ask(version, "One", options=asked))
    ended(talk.ask(version, "Two", options={"temperature": 0.5, "presence_penalty": 0.0}, schema={}))
    ended(talk.ask(version, "Three", options={"temperature": 0.5, "stop": []}))

    again = finished(replay.start(talk, reader.get_version(settings, "phi3/2")))
    again.conversation.settle()
    live_conversations._live.clear()
    kept = load_conversation(settings, pool, again.conversation.id)  # type: ignore[arg-type]
    pool.close()

    assert (again.state, again.done, again.error) == ("done", 3, "")
    for turns in (again.conversation.path, kept.path):
        assert [turn.note for turn in turns] == [
            "Asked without top_k, seed and logprobs, which this model does not take.",
            "Asked without the JSON mode, which this model does not take.",
            "",
        ]
        assert [turn.options for turn in turns] == [{"temperature": 0.5}] * 3
        assert [(turn.seed, turn.schema) for turn in turns] == [(None, None)] * 3
    assert talk.path[0].options == asked


def test_an_endpoint_is_asked_only_for_what_its_kind_takes(
    settings: Settings, talk: Conversation, pool: FakePool, engine: fakes.FakeEngine, version: Version
) -> None:
    ended(talk.ask(version, "Four", options={"top_k": 3, "repetition_penalty": 1.2, "top_p": 0.5}))
    server = pool.open(version)
    endpoint = Endpoint("mine", "openai", f"{server.url}/v1", model="phi3/1", key=server.key)

    again = finished(replay.start(talk, endpoint))

    assert (again.state, again.done) == ("done", 4)
    note = "Asked without top_k and repetition_penalty, which this model does not take."
    assert [turn.note for turn in again.conversation.path] == ["", "", "", note]
    assert (engine.asked[-1].top_k, engine.asked[-1].top_p) == (engine.options.top_k, 0.5)


def test_a_replay_is_a_saved_conversation_that_knows_what_it_repeats(
    settings: Settings, talk: Conversation, pool: FakePool, version: Version
) -> None:
    again = finished(replay.start(talk, version))
    again.conversation.settle()
    live_conversations._live.clear()
    found = load_conversation(settings, pool, again.conversation.id)  # type: ignore[arg-type]
    assert found.origin == Origin("replay", talk.id)
    assert found.title == "Replay: One"
    original = load_conversation(settings, pool, talk.id)  # type: ignore[arg-type]
    pairs = replay.compare(original, found)
    assert [(pair.old.question, pair.same) for pair in pairs] == [("One", True), ("Two", True), ("<user>Three", True)]
    assert {summary.origin for summary in search_conversations(settings).conversations} == {
        None,
        Origin("replay", talk.id),
    }


class ReadingEngine(fakes.FakeEngine):
    """Answers with its name and something that differs with every prompt."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def stream(self, prompt: Any, options: Any, stopped: Any) -> Iterator[Any]:
        self.words = (self.name, f" {zlib.crc32(prompt.encode()):08x}")
        yield from super().stream(prompt, options, stopped)


def test_a_replay_of_a_replay_sends_what_the_first_one_sent_in_every_turn_also_after_a_restart(
    settings: Settings, pool: FakePool, version: Version
) -> None:
    engines = {ref: ReadingEngine(ref) for ref in ("phi3/1", "phi3/2")}
    pool.engines = engines.__getitem__
    other = reader.get_version(settings, "phi3/2")
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    for question in ("One", "Two", "Three"):
        ended(talk.ask(version, question, "Sys"))
    first = finished(replay.start(talk, other)).conversation
    assert engines["phi3/2"].prompts == engines["phi3/1"].prompts
    ended(first.ask(other, "Four"))  # what is asked there by hand has the new answers before it
    sent = list(engines["phi3/2"].prompts)
    assert first.path[0].answer in sent[3]
    first.settle()
    live_conversations._live.clear()

    found = load_conversation(settings, pool, first.id)  # type: ignore[arg-type]
    (imported,) = import_export.import_file(settings, pool, "c.json", import_export.to_json(found).encode())  # type: ignore[arg-type]
    for original in (first, found, found.branch(found.path[-1]), imported):
        again = finished(replay.start(original, other))
        assert (again.state, [pair.same for pair in again.pairs]) == ("done", [True] * 4), original
        assert engines["phi3/2"].prompts[-4:] == sent


def test_titles_of_replays_do_not_pile_up(talk: Conversation, version: Version) -> None:
    first = finished(replay.start(talk, version)).conversation
    assert finished(replay.start(first, version)).conversation.title == "Replay: One"
    talk.set_title("Replay: Replay: Replay the tape")
    assert finished(replay.start(talk, version)).conversation.title == "Replay: Replay the tape"


def test_differing_answers_are_compared_word_by_word(
    talk: Conversation, version: Version, engine: fakes.FakeEngine
) -> None:
    engine.words = ("The", " town", " is", " Madrid", ".")
    again = finished(replay.start(talk, version))
    pair = again.pairs[0]
    assert not pair.same
    told = [("same", "The "), ("old", "capital"), ("new", "town"), ("same", " is Madrid.")]
    assert [(piece.kind, piece.text) for piece in pair.diff] == told
    assert (pair.old.completion_tokens, pair.new.completion_tokens) == (5, 5)


@pytest.mark.parametrize(
    ("old", "new"),
    [("", ""), ("", "new words"), ("old words", ""), ("a  b\nc", "a b\n\nc"), ("same", "same"), ("日本 語", "日本 人")],
)
def test_the_pieces_of_a_difference_make_both_texts(old: str, new: str) -> None:
    pieces = replay.diff(old, new)
    assert "".join(piece.text for piece in pieces if piece.kind != "new") == old
    assert "".join(piece.text for piece in pieces if piece.kind != "old") == new
    assert all(piece.text for piece in pieces)


def test_a_replay_can_be_stopped_and_keeps_what_was_answered(
    settings: Settings, talk: Conversation, version: Version, pool: FakePool
) -> None:
    held = HeldEngine(WORDS, hold_at=2)
    pool.close()
    pool.made.clear()
    pool.engines = lambda ref: held
    again = replay.start(talk, version)
    assert replay.find_replay(again.conversation.id) is again
    fakes.until(lambda: again.conversation.current and again.conversation.current.answer)
    assert again.state == "running"
    again.stop()
    held.go.set()
    finished(again)
    assert (again.state, again.done) == ("stopped", 0)
    assert [turn.state for turn in again.conversation.path] == ["stopped"]


def test_a_replay_that_fails_ends_with_the_reason(
    talk: Conversation, version: Version, engine: fakes.FakeEngine
) -> None:
    engine.fail_at = 1
    again = finished(replay.start(talk, version))
    assert (again.state, again.done) == ("failed", 0)
    assert "the runtime broke" in again.error
    assert [turn.answer for turn in again.conversation.path] == ["The"]


def test_turns_that_got_no_answer_are_not_repeated(
    settings: Settings, pool: FakePool, version: Version, engine: fakes.FakeEngine
) -> None:
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    ended(talk.ask(version, "One"))
    engine.fail_at = 0
    ended(talk.ask(version, "Two"))
    engine.fail_at = None
    ended(talk.ask(version, "Three"))
    again = finished(replay.start(talk, version))
    assert [turn.question for turn in again.conversation.path] == ["One", "Three"]
    assert [pair.old.question for pair in again.pairs] == ["One", "Three"]


def test_what_the_context_was_to_forget_is_forgotten_again(
    settings: Settings, pool: FakePool, version: Version, engine: fakes.FakeEngine
) -> None:
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    ended(talk.ask(version, "One"))
    ended(talk.ask(version, "Two", forget=1))
    asked: list[Any] = list(engine.prompts)
    finished(replay.start(talk, version))
    assert engine.prompts[2:] == asked == ["<user>One", "<user>Two"]


def test_there_must_be_something_to_repeat(settings: Settings, pool: FakePool, version: Version) -> None:
    with pytest.raises(BadInput, match="no answer"):
        replay.start(Conversation(settings, pool), version)  # type: ignore[arg-type]
    held = HeldEngine(WORDS, hold_at=1)
    pool.engines = lambda ref: held
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    live = talk.ask(version, "Hello")
    fakes.until(lambda: live.turn.answer)
    with pytest.raises(BadInput, match="still coming"):
        replay.start(talk, version)
    held.go.set()
    ended(live)
