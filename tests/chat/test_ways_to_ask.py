"""Raw prompts, JSON, probabilities, and models that take no conversation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from phi3core.chat import history, live_conversations
from phi3core.chat.answer import read_schema
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import (
    load_conversation,
)
from phi3core.engine.interface import Piece, Token
from phi3core.errors import BadInput
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.app.servers import FakePool
from tests.chat.asking import WORDS, ended
from tests.support import fakes


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
                    item = Piece(item.text, 0, (Token(item.text, -0.5, ((item.text, -0.5), (" no", -2.0))),))
                yield item

    pool.engines = lambda ref: Telling(WORDS)
    talk = Conversation(settings, pool)  # type: ignore[arg-type]
    turn = ended(talk.ask(version, "Hello", options={"logprobs": True, "top_logprobs": 2}))
    assert turn.tokens[0] == Token("The", -0.5, (("The", -0.5), (" no", -2.0)))
    assert "".join(token.text for token in turn.tokens) == turn.answer
    raw = ended(talk.ask(version, "Hello", options={"logprobs": True, "top_logprobs": 2}, raw=True))
    assert raw.tokens == turn.tokens
    history.flush(settings)
    live_conversations._live.clear()
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


@pytest.mark.parametrize("raw", [False, True], ids=["chat", "raw"])
def test_what_a_model_does_not_take_is_left_out_and_noted_below_the_answer(
    talk: Conversation, engine: fakes.FakeEngine, version: Version, raw: bool
) -> None:
    engine.supports = frozenset({"max_tokens"})

    turn = ended(talk.ask(version, "One", options={"temperature": 0, "max_tokens": 3}, raw=raw))

    assert (turn.answer, turn.state) == ("The capital is", "done")
    assert turn.note == "Asked without temperature, which this model does not take."


def test_half_of_a_character_is_replaced_where_a_schema_or_inputs_are_written() -> None:
    assert read_schema('{"const": "a\\ud83d"}') == {"const": "a\ufffd"}
    with pytest.raises(BadInput, match="nested too deep"):
        read_schema('{"a":' * 5000 + "1" + "}" * 5000)
