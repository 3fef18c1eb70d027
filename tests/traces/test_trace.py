"""A turn as an MLflow trace, and back."""

from __future__ import annotations

import dataclasses

import pytest

from phi3core import tags
from phi3core.chat import history
from phi3core.chat.search import search_conversations
from phi3core.clean_text import clean
from phi3core.engine.interface import Token
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.traces.turn import Origin
from tests.support.saved_turns import ended_turn, keep, new_id, traces_of


def test_a_turn_is_one_trace_of_the_conversations_session_with_all_there_is_to_know(settings: Settings) -> None:
    turn = ended_turn(
        "What is the capital of Spain?",
        "Madrid.",
        system="Be brief.",
        options={"temperature": 0.5},
        seed=11,
        prompt="<s>rendered",
        prompt_tokens=9,
        completion_tokens=2,
        cached_tokens=4,
        first_token_ms=12.5,
        tokens_per_second=99.0,
        took_ms=1234.0,
        asked_ref="phi3/Production",
        model_id="m-0123456789abcdef0123456789abcdef",
    )
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": turn.question}]
    id = new_id()
    history.save(settings, id, turn, messages)
    assert history.flush(settings)

    (trace,) = traces_of(settings, id)
    info, span = trace.info, trace.data.spans[0]
    assert info.trace_id == turn.trace_id
    assert info.trace_metadata["mlflow.trace.session"] == id
    assert info.trace_metadata["mlflow.trace.user"] == "ada"
    assert info.trace_metadata["mlflow.modelId"] == turn.model_id
    assert (info.tags[tags.VERSION], info.tags[tags.TITLE]) == ("phi3/1", "What is the capital of Spain?")
    assert (info.request_time, info.execution_duration) == (turn.when, 1234)
    assert (info.request_preview, info.response_preview) == (turn.question, "Madrid.")
    assert str(info.state).endswith("OK")
    assert info.token_usage["input_tokens"] == 9
    assert info.token_usage["cache_read_input_tokens"] == 4
    assert span.inputs == {"messages": messages, "model": "phi3/1", "temperature": 0.5, "seed": 11}
    assert span.outputs["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Madrid."}, "finish_reason": "stop"}
    ]
    assert span.attributes[tags.RENDERED] == "<s>rendered"
    assert span.attributes[tags.FIRST_TOKEN_MS] == 12.5
    assert span.attributes[tags.TOKENS_PER_SECOND] == 99.0


def test_mlflow_lists_the_trace_with_the_logged_model(settings: Settings) -> None:
    model = mlflow_client(settings).create_logged_model(experiment_id(settings, tags.CONVERSATIONS))
    turn = ended_turn(model_id=model.model_id)
    keep(settings, turn)
    found = mlflow_client(settings).search_traces(
        locations=[experiment_id(settings, tags.CONVERSATIONS)],
        filter_string=f"request_metadata.`mlflow.modelId` = '{model.model_id}'",
    )
    assert [trace.info.trace_id for trace in found] == [turn.trace_id]


def test_a_turn_comes_back_as_it_was(settings: Settings) -> None:
    turn = ended_turn(
        options={"stop": ["END"], "temperature": 0.25},
        schema={"type": "object"},
        tokens=[Token("Hi", -0.25, (("Hi", -0.25), ("Ho", -1.5))), Token(".", -0.5)],
        state="stopped",
        note="A note.",
        forgot=2,
        copy_of="f" * 32,
        seed=3,
    )
    id = keep(settings, turn, origin=Origin("replay", "e" * 32))
    found = history.read(settings, id)
    assert list(found.turns) == [turn]
    assert found.origin == Origin("replay", "e" * 32)


def test_a_failed_turn_is_a_failed_trace(settings: Settings) -> None:
    turn = ended_turn(answer="Half", state="failed", error="It died.", full=True)
    id = keep(settings, turn)
    (trace,) = traces_of(settings, id)
    assert str(trace.info.state).endswith("ERROR")
    assert trace.data.spans[0].status.description == "It died."
    assert list(history.read(settings, id).turns) == [turn]


HOSTILE = {
    "control characters": "\x01\x02\x1b[31m red \x7f\x85",
    "NUL": "before\x00after",
    "half a character": "before\ud800after",
    "a long line": "x" * 100_000,
    "direction marks": "\u202egnirts\u202c\u2028",
    "quotes": "' OR 1=1 -- \" ` \\ %_",
    "markup": "<script>alert(1)</script>![x](http://evil/)",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_saved_found_and_read_back(settings: Settings, text: str) -> None:
    turn = ended_turn(f"q {text} q", f"a {text} a", system=text, error=text, state="failed", user=text, comment="")
    id = keep(settings, turn)
    found = history.read(settings, id)
    expected = f"a {text} a".replace("\ud800", "\ufffd")
    assert found.turns[0].answer == expected
    assert found.turns[0].question == f"q {text} q".replace("\ud800", "\ufffd")
    (summary,) = search_conversations(settings).conversations
    assert summary.title.startswith("q ")
    assert len(summary.title) <= 80
    assert summary.title.isprintable()
    history.rename(settings, id, f"t {text}")
    history.rate(settings, id, dataclasses.replace(turn, thumb=False, comment=f"c {text}"))
    assert history.flush(settings), history.sending_error(settings)
    assert search_conversations(settings).conversations[0].title.startswith("t ")
    assert history.read(settings, id).turns[0].comment.startswith("c ")


def test_two_halves_of_a_character_that_were_streamed_apart_become_one() -> None:
    assert clean("a" + "\ud83d" + "\ude00") == "a😀"
