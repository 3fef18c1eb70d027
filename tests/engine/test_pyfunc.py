"""MLflow models of other authors: those that take conversations, and those that take neither conversation nor text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phi3core.engine.interface import Done, End, Piece
from phi3core.engine.pyfunc import PyfuncEngine
from phi3core.errors import BadInput, ServerError
from tests.support import third_party
from tests.support.asking_pyfunc import KINDS, TALK, Opener, ask

# ---------------------------------------------------------------- conversations


def test_a_chat_model_gets_the_whole_conversation_and_streams(opened: Opener) -> None:
    engine = opened("chat")

    pieces, reason, done = ask(engine, *TALK)

    assert engine.chat == "messages"
    assert pieces[:2] == ["hi", " there"]
    assert "4 messages" in "".join(pieces)
    assert (reason, done) == ("stop", Done(7, 3))


@pytest.mark.parametrize("kind", ["chat", "agent", "responses", "text"])
def test_a_streamed_answer_is_the_whole_one_in_pieces(opened: Opener, kind: str) -> None:
    streamed, _, _ = ask(opened(kind), "hello")
    whole, _, _ = ask(opened(f"{kind}-whole"), "hello")

    assert len(streamed) > 1
    assert len(whole) == 1
    # The agent that streams says one word more, which it never sent in pieces.
    assert "".join(streamed).removesuffix("\n\nBye.").split() == "".join(whole).split()


def test_a_model_gets_only_the_options_that_somebody_asked_for_and_a_limit(opened: Opener) -> None:
    told = "".join(ask(opened("chat"), "x", temperature=0.5, stop=("END",), presence_penalty=1.0)[0])

    given = {"temperature": 0.5, "max_tokens": 300, "stop": ["END"], "presence_penalty": 1.0}
    assert f"{given}" in told


def test_a_chat_model_supports_what_mlflows_chat_requests_hold(opened: Opener) -> None:
    assert opened("chat").supports == {
        "max_tokens", "temperature", "top_p", "top_k", "stop", "n", "presence_penalty", "frequency_penalty",
    }  # fmt: skip


def test_an_answer_that_reached_the_limit_says_so_though_its_model_does_not(opened: Opener) -> None:
    for kind in ("chat", "chat-whole"):
        pieces, reason, done = ask(opened(kind), "one two three", max_tokens=2)

        assert "".join(pieces) == "one two"
        assert (reason, done.completion_tokens) == ("length", 2)


def test_a_model_is_asked_once_for_each_of_n_answers(opened: Opener) -> None:
    engine = opened("chat")
    prompt = engine.prepare([{"role": "user", "content": "yes"}])

    items = list(engine.stream(prompt, engine.options.but(n=2, max_tokens=1), lambda: False))

    assert items == [Piece("yes", 0), End("length", 0), Piece("yes", 1), End("length", 1), Done(7, 2)]


def test_an_answer_ends_where_it_is_stopped(opened: Opener) -> None:
    engine, got = opened("chat"), list[Any]()
    prompt = engine.prepare([{"role": "user", "content": "one two three four"}])

    for item in engine.stream(prompt, engine.options, lambda: len(got) >= 2):
        got.append(item)

    assert [item.text for item in got if isinstance(item, Piece)] == ["one", " two"]
    assert isinstance(got[-2], End)
    assert isinstance(got[-1], Done)


def test_what_an_agents_tools_said_is_not_its_answer(opened: Opener) -> None:
    for kind in ("agent", "agent-whole"):
        pieces, reason, _ = ask(opened(kind), "tea")

        assert "".join(pieces) == "You said tea.\n\nIn 1 messages."
        assert reason == "length"


def test_an_agent_that_only_asks_for_a_tool_fails_with_its_name(opened: Opener) -> None:
    for kind in ("agent", "agent-whole"):
        with pytest.raises(ServerError, match="asks for the tool “look_up”"):
            ask(opened(kind), "tool")


def test_a_responses_agent_gets_the_options_it_knows_under_its_own_names(opened: Opener) -> None:
    engine = opened("responses-whole")

    pieces, reason, done = ask(engine, *TALK, temperature=0.5, max_tokens=9)

    assert engine.supports == {"max_tokens", "temperature", "top_p", "n"}
    assert pieces == ["hi there 0.5 9 4"]
    assert (reason, done) == ("length", Done(3, 4))


def test_a_responses_agents_message_is_told_once_streamed_or_not(opened: Opener) -> None:
    assert "".join(ask(opened("responses"), "tea")[0]) == "tea None 300 1\n\nBye."


def test_counts_that_a_model_does_not_tell_are_unknown(opened: Opener) -> None:
    for kind in ("text", "text-whole", "list"):
        assert not ask(opened(kind), "hello")[2].counted
    assert ask(opened("chat"), "hello")[2].counted


def test_an_error_in_a_responses_agents_stream_is_an_error(opened: Opener) -> None:
    with pytest.raises(ServerError, match="the tool box is empty"):
        ask(opened("responses"), "fail")


def test_a_model_logged_as_streaming_without_the_code_for_it_answers_whole(tmp_path: Path) -> None:
    engine = PyfuncEngine(third_party.save(tmp_path / "m", "text-whole", streamable=True))

    for _ in range(2):
        assert len(ask(engine, "hello")[0]) == 1


def test_an_empty_conversation_is_refused(opened: Opener) -> None:
    for kind in KINDS:
        with pytest.raises(BadInput, match="empty"):
            opened(kind).prepare([{"role": "user", "content": " "}])


# ---------------------------------------------------------------- everything else


def test_a_numeric_model_holds_no_conversation_but_predicts(opened: Opener) -> None:
    engine = opened("numbers")

    assert (engine.chat, engine.supports) == ("none", frozenset())
    with pytest.raises(BadInput, match="/invocations"):
        engine.prepare(TALK)
    for body in (
        {"inputs": {"a": [1, 2], "b": [3, 4]}},
        {"instances": [{"a": 1, "b": 3}, {"a": 2, "b": 4}]},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 3], [2, 4]]}},
        {"dataframe_records": [{"a": 1, "b": 3}, {"a": 2, "b": 4}]},
    ):
        assert engine.predict(body) == {"predictions": [4.0, 6.0]}


def test_what_json_has_no_number_for_is_null(opened: Opener) -> None:
    body = {"dataframe_records": [{"a": -1, "b": 1}]}

    assert opened("numbers").predict(body) == {"predictions": [None]}


@pytest.mark.parametrize("kind", ["chat", "agent"])
def test_a_chat_body_is_answered_as_mlflow_does(opened: Opener, kind: str) -> None:
    answer = opened(kind).predict({"messages": TALK})

    assert "hi there" in str(answer)
    assert "predictions" not in answer


def test_parameters_of_an_invocation_reach_the_model(opened: Opener) -> None:
    body = {"dataframe_split": {"columns": ["question"], "data": [["x"]]}, "params": {"mood": "grim"}}

    (answer,) = opened("text").predict(body)["predictions"]

    assert "'mood': 'grim'" in answer


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "it holds nothing"),
        ({"data": [1]}, "it holds data"),
        ({"inputs": {"a": [1]}, "instances": []}, "exactly one of"),
        ({"inputs": {"a": [1]}}, "missing inputs"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2, 3]]}}, "can't be read"),
        ({"dataframe_split": 3}, "can't be read"),
        ({"dataframe_records": [{"a": "much", "b": 1}]}, "does not take|can't be read"),
    ],
)
def test_a_bad_body_is_refused_in_one_line(opened: Opener, body: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        opened("numbers").predict(body)

    assert "\n" not in str(caught.value)
    assert "IMPORTANT" not in str(caught.value)


def test_a_body_is_left_as_it_was(opened: Opener) -> None:
    body = {"inputs": {"question": ["x"]}, "params": {"temperature": 1.0}}

    opened("text").predict(body)

    assert body == {"inputs": {"question": ["x"]}, "params": {"temperature": 1.0}}


def test_an_answer_that_is_no_data_is_named(opened: Opener) -> None:
    with pytest.raises(ServerError, match="written as JSON: it is of type object"):
        opened("numbers").predict({"dataframe_records": [{"a": 100, "b": 1}]})


def test_the_signature_is_plain_data(opened: Opener) -> None:
    signature = opened("text").signature

    assert signature is not None
    assert signature["inputs"] == [{"type": "string", "name": "question", "required": True}]
    assert signature["params"][0] == {"name": "temperature", "default": 0.5, "shape": None, "type": "double"}
    assert opened("numbers").signature == {**opened("numbers").signature, "params": None}  # type: ignore[dict-item]


def test_a_model_without_a_signature_only_predicts(tmp_path: Path) -> None:
    engine = PyfuncEngine(third_party.save(tmp_path / "m", "numbers", signature=None))

    assert (engine.chat, engine.signature) == ("none", None)
    assert engine.predict({"dataframe_records": [{"a": 1, "b": 3}]}) == {"predictions": [4]}


# ---------------------------------------------------------------- a pipeline that somebody else logged


def test_a_chat_pipeline_answers_with_the_options_that_work_in_it(tiny_once: Path, tmp_path: Path) -> None:
    import mlflow.transformers
    import transformers

    pipeline = transformers.pipeline(task="text-generation", model=str(tiny_once))
    mlflow.transformers.save_model(pipeline, tmp_path / "m", task="llm/v1/chat", pip_requirements=["mlflow"])
    engine = PyfuncEngine(tmp_path / "m")

    answers = {"".join(ask(engine, "Hello", temperature=0.0, max_tokens=6)[0]) for _ in range(3)}
    _, reason, done = ask(engine, "Hello", max_tokens=6)

    assert engine.chat == "messages"
    assert engine.supports == {"max_tokens", "temperature", "top_p", "top_k", "n"}
    assert len(answers) == 1
    assert reason == "length"
    assert done.completion_tokens == 6
    assert done.prompt_tokens > 6


def test_a_completion_pipeline_takes_one_text(tiny_once: Path, tmp_path: Path) -> None:
    import mlflow.transformers
    import transformers

    pipeline = transformers.pipeline(task="text-generation", model=str(tiny_once))
    mlflow.transformers.save_model(pipeline, tmp_path / "m", task="llm/v1/completions", pip_requirements=["mlflow"])
    engine = PyfuncEngine(tmp_path / "m")

    _, reason, done = ask(engine, "Hello", max_tokens=4, temperature=0.0)

    assert (engine.chat, engine.supports) == ("prompt", {"max_tokens", "temperature", "n"})
    assert (reason, done.completion_tokens) == ("length", 4)
