"""A conversation of several turns: a tree, a context that fills, a stage that moves on, and all of it with a model."""

from __future__ import annotations

import itertools
import json

import pytest

from phi3core import tags
from phi3core.chat import live_conversations
from phi3core.chat.context_window import count_tokens, count_turns_to_forget
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import (
    load_conversation,
)
from phi3core.chat.target import find_moved_version
from phi3core.errors import BadInput, NotFound
from phi3core.promotion.promote import promote
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.traces.turn import Origin, Turn
from tests.app.servers import FakePool
from tests.chat.asking import ended
from tests.conftest import MODEL, Built
from tests.support import fakes

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
    live_conversations._live.clear()
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

    forget = count_turns_to_forget(talk, talk._pool.open(version), "", question, parent=second, room=20)
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
    assert count_tokens(talk, server, "Sys", "Two") == (
        len("<system>Sys<user>One<assistant><user>Two" + asked.answer),
        200,
    )
    assert count_turns_to_forget(talk, server, "", "x" * 300) is None
    empty = Conversation(talk._settings, talk._pool)
    assert count_tokens(empty, server) == (0, 200)
    server.close()
    assert count_tokens(talk, server, "Sys", "Two") == (None, None)  # a page must draw all the same


# ---------------------------------------------------------------- pinned


def test_a_conversation_tells_when_its_stage_has_moved_to_another_version(
    settings: Settings, talk: Conversation, version: Version
) -> None:
    promote(settings, "phi3/1", "Production")
    assert find_moved_version(settings, talk.asked_ref, talk.ref) is None
    turn = ended(talk.ask(version, "One", asked_ref="phi3/Production"))
    assert (talk.asked_ref, talk.ref, turn.asked_ref, turn.ref) == (
        "phi3/Production",
        "phi3/1",
        "phi3/Production",
        "phi3/1",
    )
    assert find_moved_version(settings, talk.asked_ref, talk.ref) is None
    fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx"})
    promote(settings, "phi3/2", "Production")
    assert find_moved_version(settings, talk.asked_ref, talk.ref) == "phi3/2"
    ended(talk.ask(version, "Two", asked_ref="phi3/1"))  # pinned by hand: it stays
    assert find_moved_version(settings, talk.asked_ref, talk.ref) is None


# ---------------------------------------------------------------- a real model


@pytest.mark.model
def test_a_real_version_answers_again_by_its_seed_in_json_raw_and_with_probabilities(built: Built) -> None:
    config = built.settings
    version = reader.get_version(config, f"{MODEL}/2")
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

        tokens, context = count_tokens(talk, pool.open(version), "Be brief.", "And?")
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
