"""The answers of chat and completions as OpenAI's protocol has them, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai

from phi3core.engine.interface import Done, End, Options, Piece, Prompt
from tests.support.choir import Choir
from tests.support.fakes import FakeEngine
from tests.support.serving import CHAT, HELLO, client_of, http, serving, wait_loaded

# ---------------------------------------------------------------- answers, whole and streamed


def test_a_chat_is_answered(client: openai.OpenAI, engine: FakeEngine) -> None:
    answer = client.chat.completions.create(model="fake/1", messages=HELLO)

    assert answer.choices[0].message.content == "Madrid is it."
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (12, 4, 16)
    assert (answer.model, answer.object) == ("fake/1", "chat.completion")
    assert engine.prompts == ["<user>Where?"]


def test_a_chat_is_streamed_word_by_word(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="fake/1", messages=HELLO, stream=True))

    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Madrid", " is", " it", ".", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 5 + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_the_usage_when_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="fake/1", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )

    *_, last = stream

    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (12, 4)


def test_a_completion_takes_the_prompt_as_it_is(client: openai.OpenAI, engine: FakeEngine) -> None:
    answer = client.completions.create(model="fake/1", prompt="Once upon")

    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Madrid is it.", "stop")
    assert answer.object == "text_completion"
    assert engine.prompts == ["Once upon"]


def test_a_completion_is_streamed_too(client: openai.OpenAI) -> None:
    chunks = list(client.completions.create(model="fake/1", prompt="Once upon", stream=True))

    assert "".join(chunk.choices[0].text for chunk in chunks) == "Madrid is it."
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_is_made_of_server_sent_events_and_ends_with_done(url: str) -> None:
    answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True})

    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"


def test_an_answer_cut_by_its_limit_says_length(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake/1", messages=HELLO, max_tokens=2)

    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Madrid is", "length")


def test_options_reach_the_engine_under_openais_names(client: openai.OpenAI, engine: FakeEngine) -> None:
    client.chat.completions.create(
        model="fake/1",
        messages=HELLO,
        max_completion_tokens=3,
        temperature=0,
        top_p=0.5,
        seed=7,
        stop="END",
        extra_body={"top_k": 5, "repetition_penalty": 1.3},
    )

    (asked,) = engine.asked
    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.seed, asked.stop) == (3, 0, 0.5, 7, ("END",))
    assert (asked.top_k, asked.repetition_penalty) == (5, 1.3)


def test_options_left_out_are_the_models_own(client: openai.OpenAI, engine: FakeEngine) -> None:
    client.chat.completions.create(model="fake/1", messages=HELLO, stop=None)

    assert engine.asked == [engine.options]


def test_a_message_may_come_in_parts(client: openai.OpenAI, engine: FakeEngine) -> None:
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "ere?"}]}]

    client.chat.completions.create(model="fake/1", messages=parts)

    assert engine.prompts == ["<user>Where?"]


def test_what_has_no_effect_anyway_is_accepted(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="fake/1", messages=HELLO, n=1, presence_penalty=0, user="ada", logprobs=False, tools=[]
    )

    assert answer.choices[0].message.content == "Madrid is it."


def test_the_models_are_listed_under_all_their_names(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["fake/1", "fake@champion"]


def test_a_model_answers_under_its_other_name(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="fake@champion", messages=HELLO).model == "fake/1"


def test_the_rendered_prompt_and_the_options_can_be_looked_at(url: str) -> None:
    rendered = http.post(f"{url}/apply-template", json=CHAT).json()
    props = http.get(f"{url}/props").json()

    assert rendered["prompt"] == "<user>Where?"
    assert props["n_ctx"] == 200
    assert (props["batched"], props["exact"]) == (False, True)
    assert props["default_generation_settings"]["max_tokens"] == 50


def test_text_in_any_script_survives(engine: FakeEngine, client: openai.OpenAI) -> None:
    engine.words = ("¡Qué", " 😀", " 東京\n\n", "data: x")

    chunks = client.chat.completions.create(model="fake/1", messages=HELLO, stream=True)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "¡Qué 😀 東京\n\ndata: x"


def test_the_openai_clients_own_stream_helper_puts_the_answer_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="fake/1", messages=HELLO) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        whole = stream.get_final_completion()

    assert "".join(deltas) == whole.choices[0].message.content == "Madrid is it."
    assert whole.choices[0].finish_reason == "stop"


# ---------------------------------------------------------------- several answers


def test_several_answers_come_as_several_choices(choir_client: openai.OpenAI) -> None:
    answer = choir_client.chat.completions.create(model="fake/1", messages=HELLO, n=3)

    assert [choice.message.content for choice in answer.choices] == [f"{index}Madrid is it." for index in range(3)]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "length", "length"]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 15


def test_several_answers_are_streamed_under_their_indices(choir_client: openai.OpenAI) -> None:
    texts, roles, reasons = ["", ""], [None, None], [None, None]  # type: Any, Any, Any
    for chunk in choir_client.chat.completions.create(model="fake/1", messages=HELLO, n=2, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        roles[choice.index] = roles[choice.index] or choice.delta.role
        reasons[choice.index] = choice.finish_reason or reasons[choice.index]

    assert texts == ["0Madrid is it.", "1Madrid is it."]
    assert roles == ["assistant", "assistant"]
    assert reasons == ["stop", "length"]


def test_several_completions_come_whole_and_streamed(choir_client: openai.OpenAI) -> None:
    whole = choir_client.completions.create(model="fake/1", prompt="Once", n=2)
    texts = ["", ""]
    for chunk in choir_client.completions.create(model="fake/1", prompt="Once", n=2, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text

    assert [choice.text for choice in whole.choices] == texts == ["0Madrid is it.", "1Madrid is it."]


# ---------------------------------------------------------------- counts that nobody knows


class Uncounted(Choir):
    """Tells no counts, as many a model of somebody else."""

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        for item in super().stream(prompt, options, stopped):
            yield Done(0, 0, counted=False) if isinstance(item, Done) else item


def test_counts_that_nobody_knows_are_not_told() -> None:
    with serving(Uncounted) as url:
        wait_loaded(url)
        client = client_of(url)
        asked: Any = {"stream": True, "stream_options": {"include_usage": True}}

        assert client.chat.completions.create(model="fake/1", messages=HELLO).usage is None
        assert client.completions.create(model="fake/1", prompt="Once").usage is None
        chunks = [*client.chat.completions.create(model="fake/1", messages=HELLO, **asked)]

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
