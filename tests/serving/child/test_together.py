"""Where a model writes several answers in one step, those to one request are written together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from phi3core.engine.interface import Done, End, Options, Piece, Prompt
from tests.support.choir import Choir
from tests.support.serving import HELLO, http, serving, wait_loaded

from .conftest import Served


class Together(Choir):
    """Notes how many answers are open, and tells each one's seed.

    expected: after its first word an answer goes on when so many are open.
    """

    batched = True

    def __init__(self) -> None:
        super().__init__()
        self.open, self.most, self.expected, self.fail_on = 0, 0, 0, ""

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            for item in super().stream(prompt, options, stopped):
                if prompt == self.fail_on:
                    raise RuntimeError("it broke")
                yield Piece(f"{options.seed}:") if item == Piece("0", 0, ()) else item
                yield None
                while self.most < self.expected:
                    time.sleep(0.001)
                    yield None
        finally:
            self.open -= 1


@pytest.fixture(scope="module")
def choir_served() -> Iterator[Served]:
    engine = Together()
    with serving(lambda: engine) as address:
        wait_loaded(address)
        yield engine, address


def test_several_answers_to_one_request_are_written_at_once_each_with_its_own_seed(
    choir: Together, choir_client: openai.OpenAI
) -> None:
    choir.expected = 3
    answer = choir_client.chat.completions.create(model="fake/1", messages=HELLO, n=3, seed=5)

    assert [choice.message.content for choice in answer.choices] == [f"{5 + at}:Madrid is it." for at in range(3)]
    assert choir.most == 3
    assert [asked.n for asked in choir.asked] == [1, 1, 1]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(choir.prompts[0])
    assert answer.usage.completion_tokens == 15


def test_what_is_streamed_of_several_answers_is_mixed_and_each_is_opened_once(
    choir: Together, choir_client: openai.OpenAI
) -> None:
    choir.expected = 3
    texts, roles = ["", "", ""], list[int]()
    order: list[int] = []
    for chunk in choir_client.chat.completions.create(model="fake/1", messages=HELLO, n=3, seed=5, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        roles += [choice.index] if choice.delta.role else []
        order.append(choice.index)

    assert texts == ["5:Madrid is it.", "6:Madrid is it.", "7:Madrid is it."]
    assert sorted(roles) == [0, 1, 2]
    assert order != sorted(order)


def test_several_prompts_are_written_at_once_as_many_as_there_is_room_for(
    choir: Together, choir_client: openai.OpenAI
) -> None:
    choir.expected = 8
    prompts = [f"{number:02}" for number in range(20)]
    answer = choir_client.completions.create(model="fake/1", prompt=prompts, n=2, seed=1)

    assert [choice.text for choice in answer.choices] == ["1:Madrid is it.", "2:Madrid is it."] * 20
    assert sorted(choir.prompts, key=str) == sorted([*prompts, *prompts])
    assert choir.most == 8
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (40, 200)


def test_where_one_of_several_fails_the_request_fails_and_the_others_end(choir: Together, choir_url: str) -> None:
    choir.fail_on = "b"
    body: dict[str, Any] = {"prompt": ["a", "b", "c"], "n": 2}

    answer = http.post(f"{choir_url}/v1/completions", json=body)

    assert answer.status_code == 500
    assert "it broke" in answer.text
    choir.fail_on = ""
    assert http.post(f"{choir_url}/v1/completions", json=body).status_code == 200
    assert choir.open == 0
