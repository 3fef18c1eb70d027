"""A stored response is read and deleted by its id, by the person who asked for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from phi3core.chat import history
from phi3core.chat.search import search_conversations
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.traces import outbox
from tests.support.saved_turns import traces_of


@pytest.fixture(autouse=True)
def demo(named: Callable[..., Version]) -> None:
    named("demo")


def test_a_stored_response_is_read_again_as_it_was(client: openai.OpenAI, settings: Settings) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    form: Any = {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}}
    first = client.responses.create(
        model="demo/1", input="Where?", instructions="Be brief.", max_output_tokens=2, temperature=0.5, text=form
    )
    second = client.responses.create(model="demo/1", input="And then?", previous_response_id=first.id)

    for made in (first, second):
        assert client.responses.retrieve(made.id) == made
    assert history.flush(settings, 20)  # now from the store
    assert client.responses.retrieve(second.id).previous_response_id == first.id


def test_a_deleted_response_is_gone_from_here_and_from_the_store(client: openai.OpenAI, settings: Settings) -> None:
    first = client.responses.create(model="demo/1", input="Where?")
    second = client.responses.create(model="demo/1", input="And then?", previous_response_id=first.id)
    assert history.flush(settings, 20)

    with pytest.raises(openai.BadRequestError, match="Later turns go on from this one and repeat"):
        client.responses.delete(first.id)
    client.responses.delete(second.id)

    [found] = search_conversations(settings).conversations
    assert found.turns == 1
    assert [turn.question for turn in history.read(settings, found.id).turns] == ["Where?"]
    assert history.flush(settings, 20)
    assert [trace.data.spans[0].inputs["messages"][-1]["content"] for trace in traces_of(settings, found.id)] == [
        "Where?"
    ]
    with pytest.raises(openai.NotFoundError, match=f"There is no “{second.id}” of yours"):
        client.responses.retrieve(second.id)
    client.responses.delete(first.id)
    assert search_conversations(settings).conversations == []


def test_one_that_the_store_has_not_yet_is_deleted_too(
    client: openai.OpenAI, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "get_sender", lambda *_: type("Asleep", (), {"wake": lambda _: None})())
    first = client.responses.create(model="demo/1", input="Where?")
    second = client.responses.create(model="demo/1", input="And then?", previous_response_id=first.id)

    client.responses.delete(second.id)

    assert [event["kind"] for event in outbox.pending_events(settings)] == ["turn", "delete turn"]
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)


def test_nobody_reads_or_deletes_somebody_elses(two: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    ada, vera = two
    first = ada.responses.create(model="demo/1", input="My secret")

    for call in (vera.responses.retrieve, vera.responses.delete):
        with pytest.raises(openai.NotFoundError, match="of yours") as caught:
            call(first.id)
        assert caught.value.code == "response_not_found"
    assert ada.responses.retrieve(first.id).output_text == " 0 1 2"


def test_an_answer_that_has_ended_is_not_streamed_again(client: openai.OpenAI) -> None:
    first = client.responses.create(model="demo/1", input="Where?")

    with pytest.raises(openai.BadRequestError, match="leave “stream” out"):
        client.responses.retrieve(first.id, stream=True)
