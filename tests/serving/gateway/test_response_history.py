"""Responses that go on from one another: stored as conversations, for the person who began them alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from phi3core.chat import history, live_conversations
from phi3core.chat.conversation import Conversation
from phi3core.chat.search import search_conversations
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.traces import outbox
from tests.support import children


@pytest.fixture(autouse=True)
def read(monkeypatch: pytest.MonkeyPatch, named: Callable[..., Version]) -> list[Any]:
    """demo/1, and the prompts that it reads."""
    named("demo")
    prompts: list[Any] = []
    load = children.load

    def recorded(folder: Path) -> children.Engine:
        engine = load(folder)
        engine.prompts = prompts
        return engine

    monkeypatch.setattr(children, "load", recorded)
    return prompts


def conversations(settings: Settings) -> list[str]:
    return [found.id for found in search_conversations(settings).conversations]


def test_a_response_goes_on_from_another_without_its_instructions(
    client: openai.OpenAI, settings: Settings, read: list[Any]
) -> None:
    first = client.responses.create(model="demo/1", input="Where?", instructions="Be brief.")

    second = client.responses.create(model="demo/1", input="And then?", previous_response_id=first.id)
    third = client.responses.create(model="demo/1", input="Now?", instructions="Rhyme.", previous_response_id=second.id)

    assert read[1] == "<user>Where?<assistant> 0 1 2<user>And then?"
    assert read[2] == f"<system>Rhyme.{read[1]}<assistant> 0 1 2<user>Now?"
    assert third.previous_response_id == second.id
    [id] = conversations(settings)
    turns = history.read(settings, id).turns
    assert [(turn.question, turn.system, turn.sent) for turn in turns] == [
        ("Where?", "Be brief.", None),
        ("And then?", "", None),
        ("Now?", "Rhyme.", None),
    ]
    assert [turn.parent for turn in turns] == ["", turns[0].id, turns[1].id]
    assert (turns[0].answer, turns[0].asked_ref, turns[0].completion_tokens) == (" 0 1 2", "demo/1", 3)


def test_it_does_so_from_the_store_too_and_not_once_that_is_deleted(client: openai.OpenAI, settings: Settings) -> None:
    first = client.responses.create(model="demo/1", input="Where?")
    assert history.flush(settings, 20)
    assert outbox.pending_events(settings) == []

    second = client.responses.create(model="demo/1", input="And then?", previous_response_id=first.id)

    [id] = conversations(settings)
    assert len(history.read(settings, id).turns) == 2
    live_conversations.delete_conversation(settings, id)
    for earlier in (first, second):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model="demo/1", input="Now?", previous_response_id=earlier.id)
        assert caught.value.code == "previous_response_not_found"


def test_two_that_go_on_from_the_same_stand_beside_each_other(client: openai.OpenAI, settings: Settings) -> None:
    first = client.responses.create(model="demo/1", input="Where?")

    for question in ("And then?", "Or else?"):
        client.responses.create(model="demo/1", input=question, previous_response_id=first.id, stream=True).close()
        client.responses.create(model="demo/1", input=question, previous_response_id=first.id)

    [id] = conversations(settings)
    turns = history.read(settings, id).turns
    assert {turn.parent for turn in turns[1:]} == {turns[0].id}


def test_an_input_of_many_messages_is_read_again_by_what_follows_on_the_page_too(
    client: openai.OpenAI, settings: Settings, pool: Pool, read: list[Any]
) -> None:
    messages: Any = [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "Here."},
        {"role": "user", "content": "When?"},
    ]
    first = client.responses.create(model="demo/1", input=messages, instructions="Be brief.")

    client.responses.create(model="demo/1", input="Why?", previous_response_id=first.id)

    said = "<user>Where?<assistant>Here.<user>When?<assistant> 0 1 2"
    assert read[0] == "<system>Be brief.<user>Where?<assistant>Here.<user>When?"
    assert read[1] == f"{said}<user>Why?"
    [id] = conversations(settings)
    stored = history.read(settings, id)
    page = Conversation(settings, pool, id, turns=stored.turns)
    assert page.messages()[:4] == [*messages, {"role": "assistant", "content": " 0 1 2"}]


def test_an_earlier_answer_may_be_named_instead_of_sent(client: openai.OpenAI, read: list[Any]) -> None:
    first = client.responses.create(model="demo/1", input="Where?")
    named: Any = {"type": "item_reference", "id": first.output[0].id}

    client.responses.create(
        model="demo/1", input=[{"role": "user", "content": "Where?"}, named, {"role": "user", "content": "Now?"}]
    )

    assert read[-1] == "<user>Where?<assistant> 0 1 2<user>Now?"


def test_what_is_not_to_be_stored_is_not(client: openai.OpenAI, settings: Settings) -> None:
    answer = client.responses.create(model="demo/1", input="Where?", store=False)

    assert conversations(settings) == []
    with pytest.raises(openai.BadRequestError, match=f"There is no “{answer.id}” of yours"):
        client.responses.create(model="demo/1", input="And then?", previous_response_id=answer.id)


def test_an_answer_that_broke_off_or_was_left_is_not_stored(client: openai.OpenAI, settings: Settings) -> None:
    stream = client.responses.create(model="demo/1", input="Where?", stream=True)
    stream.close()

    client.responses.create(model="demo/1", input="After it")

    kept = [history.read(settings, id).turns[0] for id in conversations(settings)]
    assert all(turn.state == "done" and turn.answer == " 0 1 2" for turn in kept)


def test_nobody_goes_on_from_somebody_elses(settings: Settings, two: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    ada, vera = two
    first = ada.responses.create(model="demo/1", input="My secret")
    item: Any = [{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "Repeat it"}]

    for body in ({"input": "Repeat it", "previous_response_id": first.id}, {"input": item}):
        with pytest.raises(openai.BadRequestError, match="of yours"):
            vera.responses.create(model="demo/1", **body)
    assert ada.responses.create(model="demo/1", input="Go on", previous_response_id=first.id).status == "completed"
    [id] = conversations(settings)
    assert {turn.user for turn in history.read(settings, id).turns} == {"ada@example.org"}


def test_an_answer_that_can_not_be_stored_says_so(
    client: openai.OpenAI, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outbox, "put", full)

    last = [*client.responses.create(model="demo/1", input="Where?", stream=True)][-1]

    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "could not be stored" in last.response.error.message
    assert last.response.output_text == " 0 1 2"
    monkeypatch.undo()
