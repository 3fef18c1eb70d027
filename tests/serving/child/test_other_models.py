"""Models that take messages, one text or rows, and what their server answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from phi3core.engine.interface import Messages, Options, Prompt
from phi3core.errors import BadInput
from tests.support.fakes import FakeEngine
from tests.support.serving import CHAT, HELLO, client_of, http, serving, streamed, wait_loaded


@contextmanager
def serving_kind(engine: FakeEngine) -> Iterator[str]:
    with serving(lambda: engine) as url:
        wait_loaded(url)
        yield url


class TakesMessages(FakeEngine):
    """Knows neither tokens nor a template."""

    chat = "messages"
    context_length = None  # type: ignore[assignment]
    supports = frozenset({"max_tokens", "temperature"})

    def prepare(self, messages: Messages) -> Prompt:
        return messages

    def count(self, prompt: Prompt) -> int | None:
        return None

    def check(self, prompt: Prompt, options: Options) -> int:
        return 0


class TakesNothing(TakesMessages):
    """Messages, and no option."""

    supports = frozenset()


class TakesPrompts(TakesMessages):
    """One text in, one text out."""

    chat = "prompt"

    def prepare(self, messages: Messages) -> Prompt:
        if len(messages) != 1:
            raise BadInput("This model takes one question and no conversation.")
        return messages[0]["content"]


class TakesRows(TakesMessages):
    """No words at all."""

    chat = "none"
    signature: ClassVar[dict[str, Any]] = {"inputs": [{"name": "x", "type": "double"}]}

    def predict(self, body: dict[str, Any]) -> Any:
        if "inputs" not in body:
            raise BadInput("The body has no inputs.")
        if body["inputs"] == "break":
            raise RuntimeError("the runtime broke")
        if body["inputs"] == "exit":
            raise SystemExit(1)
        return {"predictions": [2 * x for x in body["inputs"]]}


def test_a_model_of_messages_gets_them_as_they_are() -> None:
    engine = TakesMessages()
    with serving_kind(engine) as url:
        answer = client_of(url).chat.completions.create(model="fake/1", messages=HELLO, max_tokens=2)
        streamed = list(client_of(url).chat.completions.create(model="fake/1", messages=HELLO, stream=True))
        completed = http.post(f"{url}/v1/completions", json={"prompt": "Once"})
        rendered = http.post(f"{url}/apply-template", json=CHAT)
        counted = http.post(f"{url}/tokenize", json=CHAT)
        props = http.get(f"{url}/props").json()

    assert answer.choices[0].message.content == "Madrid is"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == "Madrid is it."
    assert engine.prompts == [HELLO, HELLO]
    assert (completed.status_code, rendered.status_code) == (400, 400)
    assert "use /v1/chat/completions" in completed.json()["error"]["message"]
    assert counted.json() == {"count": None, "max_model_len": None, "prompt": None}
    assert (props["chat"], props["n_ctx"], props["supports"]) == ("messages", None, ["max_tokens", "temperature"])


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("n", 2, "n"),
        ("stop", ["END"], "stop"),
        ("tools", [{"type": "function", "function": {"name": "look"}}], "tools"),
        ("response_format", {"type": "json_object"}, "response_format"),
        ("logprobs", True, "logprobs"),
    ],
)
def test_an_option_that_would_change_what_is_asked_is_refused_by_name(option: str, value: Any, name: str) -> None:
    engine = TakesMessages()
    with serving_kind(engine) as url:
        answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, option: value})

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, name, "unsupported_parameter")
    assert f"does not support {name}" in error["message"]
    assert engine.asked == []


_SHADES = {
    "temperature": 0,
    "top_k": 5,
    "min_p": 0.1,
    "seed": 5,
    "presence_penalty": 1,
    "frequency_penalty": 1,
    "repetition_penalty": 1.2,
    "max_completion_tokens": 9,
    "top_p": Options().top_p,  # our own default is no neutral value
}


@pytest.mark.parametrize(("option", "value"), _SHADES.items())
def test_an_option_that_only_shades_an_answer_is_left_out_and_told(option: str, value: Any) -> None:
    engine = TakesNothing()
    with serving_kind(engine) as url:
        whole = http.post(f"{url}/v1/chat/completions", json={**CHAT, option: value})
        chunks = streamed(url, "chat/completions", {**CHAT, option: value})

    told = f"Asked without {option}, which this model does not take."
    assert whole.json()["choices"][0]["message"]["content"] == "Madrid is it."
    assert (whole.headers["x-left-out"], whole.json()["warnings"]) == (option, [told])
    assert [chunk["warnings"] for chunk in chunks if "warnings" in chunk] == [[told]]
    assert engine.asked == [Options(max_tokens=50)] * 2


def test_all_that_is_left_out_is_told_in_one_sentence() -> None:
    with serving_kind(TakesNothing()) as url:
        answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "max_tokens": 5, "temperature": 0, "seed": 1})
        plain = http.post(f"{url}/v1/chat/completions", json={**CHAT, "temperature": 1, "seed": -1, "top_k": 0})

    assert answer.headers["x-left-out"] == "max_tokens, temperature, seed"
    (told,) = answer.json()["warnings"]
    assert told == "Asked without max_tokens, temperature and seed, which this model does not take."
    assert "warnings" not in plain.json()
    assert "x-left-out" not in plain.headers


@pytest.mark.parametrize(("option", "value"), _SHADES.items())
def test_a_strict_server_refuses_it_by_name(option: str, value: Any) -> None:
    with serving(TakesNothing, strict=True) as url:
        wait_loaded(url)
        answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, option: value})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, option)


def test_what_is_left_out_must_be_in_range_all_the_same() -> None:
    with serving_kind(TakesNothing()) as url:
        answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, "temperature": 9})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "temperature")


def test_an_option_that_asks_for_nothing_special_is_accepted_by_any_model() -> None:
    neutral = {"n": 1, "presence_penalty": 0, "frequency_penalty": 0, "stop": [], "response_format": {"type": "text"}}
    neutral |= {"top_p": 1, "repetition_penalty": 1.0}
    with serving_kind(TakesMessages()) as url:
        answer = http.post(f"{url}/v1/chat/completions", json={**CHAT, **neutral, "logprobs": False})

    assert answer.status_code == 200, answer.text


def test_a_model_of_prompts_takes_one_question_and_no_conversation() -> None:
    engine = TakesPrompts()
    with serving_kind(engine) as url:
        asked = http.post(f"{url}/v1/chat/completions", json=CHAT)
        completed = http.post(f"{url}/v1/completions", json={"prompt": "Once"})
        conversation = http.post(f"{url}/v1/chat/completions", json={"messages": [*HELLO, *HELLO]})
        rendered = http.post(f"{url}/apply-template", json=CHAT)

    assert asked.json()["choices"][0]["message"]["content"] == "Madrid is it."
    assert completed.json()["choices"][0]["text"] == "Madrid is it."
    assert engine.prompts == ["Where?", "Once"]
    assert conversation.status_code == 400
    assert "no conversation" in conversation.json()["error"]["message"]
    assert rendered.status_code == 400


def test_a_model_without_words_answers_invocations_only() -> None:
    with serving_kind(TakesRows()) as url:
        predicted = http.post(f"{url}/invocations", json={"inputs": [1, 2.5]})
        refused = [
            http.post(f"{url}/v1/chat/completions", json=CHAT),
            http.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True}),
            http.post(f"{url}/v1/completions", json={"prompt": "Once"}),
            http.post(f"{url}/apply-template", json=CHAT),
        ]
        props = http.get(f"{url}/props").json()

    assert predicted.json() == {"predictions": [2, 5.0]}
    assert [answer.status_code for answer in refused] == [400] * 4
    for answer in refused[:3]:
        for way in ("JSON form on the app's Chat page", "mlflow models serve", "/invocations"):
            assert way in answer.json()["error"]["message"]
    assert props["signature"] == TakesRows.signature


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b'{"data": [1]}', 400, "has no inputs"),
        (b"[1]", 400, "must be a JSON object"),
        (b"{ broken", 400, "no JSON"),
        (b"", 400, "no JSON"),
        (b'{"inputs": "break"}', 500, "the runtime broke"),
        (b'{"inputs": "exit"}', 500, "tried to end its process"),
    ],
)
def test_invocations_that_fail_are_told_in_a_sentence(body: bytes, status: int, told: str) -> None:
    with serving_kind(TakesRows()) as url:
        answer = http.post(f"{url}/invocations", content=body, headers={"Content-Type": "application/json"})
        after = http.post(f"{url}/invocations", json={"inputs": [1]})

    assert answer.status_code == status, answer.text
    assert told in answer.json()["error"]["message"]
    assert after.json() == {"predictions": [2]}
