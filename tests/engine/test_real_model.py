"""The embedded model on both runtimes: kept or not, alone or beside others, an answer is the same to the last bit."""

from __future__ import annotations

import json
from weakref import WeakKeyDictionary

import jsonschema
import pytest

from phi3core.engine.interface import Engine, Options, Piece
from phi3core.engine.loader import open_artifact
from tests.conftest import Built
from tests.support.asking import (
    LONG,
    SAMPLED,
    Answer,
    ask,
    conversation,
    folder_of,
    fresh,
    keep_layers,
    never,
    pytorch_model,
)

BOTH = pytest.mark.parametrize("number", [2, 1], ids=["onnx", "transformers"])


@pytest.fixture(scope="module", params=[2, 1], ids=["onnx", "transformers"])
def real(request: pytest.FixtureRequest, built_once: Built) -> Engine:
    """PyTorch takes ten times as long as ONNX Runtime, and six of its thirty layers show the same."""
    engine = open_artifact(folder_of(built_once, request.param))
    if request.param == 1:
        keep_layers(pytorch_model(engine), 6)
    return engine


COLD: WeakKeyDictionary[Engine, dict[tuple[str, Options], Answer]] = WeakKeyDictionary()


def cold(engine: Engine, prompt: str, options: Options) -> Answer:
    """The answer of an engine that has kept nothing; asked once, for it is what all others are compared with."""
    answers = COLD.setdefault(engine, {})
    if (prompt, options) not in answers:
        answers[prompt, options] = ask(fresh(engine), prompt, options)
    return answers[prompt, options]


@pytest.mark.model
def test_the_next_turn_gets_the_answer_of_a_fresh_engine_to_the_last_bit(real: Engine) -> None:
    engine, said = fresh(real), ["What is the capital of Spain?"]
    for question in ("And of France?", LONG, "Thank you."):
        first = ask(engine, conversation(real, *said), SAMPLED)
        said += [first.text, question]

        prompt = conversation(real, *said)
        warm, expected = ask(engine, prompt, SAMPLED), cold(real, prompt, SAMPLED)

        assert warm == expected
        assert expected.cached_tokens == 0
    assert 64 <= warm.cached_tokens < warm.prompt_tokens


@pytest.mark.model
def test_what_a_conversation_has_read_is_not_read_again(real: Engine) -> None:
    engine = fresh(real)
    first = ask(engine, conversation(real, LONG), SAMPLED)

    second = ask(engine, conversation(real, LONG, first.text, "Go on."), SAMPLED)

    # All of the first prompt but its last token, or but its last piece, by what this machine's kernels allow.
    assert second.cached_tokens >= first.prompt_tokens - 1 - 64


@pytest.mark.model
def test_an_answer_asked_for_again_is_the_same_to_the_last_bit(real: Engine) -> None:
    engine, prompt = fresh(real), conversation(real, LONG)

    answers = [ask(engine, prompt, SAMPLED) for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    assert [answer.cached_tokens for answer in answers] == [0, *[answers[0].prompt_tokens - 1] * 2]


@pytest.mark.model
@pytest.mark.parametrize("at", [30, 80, 200])
def test_an_edited_message_gets_the_answer_of_a_fresh_engine_to_the_last_bit(real: Engine, at: int) -> None:
    engine = fresh(real)
    ask(engine, conversation(real, LONG, "Well.", "Go on."), SAMPLED)
    edited = conversation(real, LONG[:at] + " Briefly, please.")

    assert ask(engine, edited, SAMPLED) == cold(real, edited, SAMPLED)


@pytest.mark.model
def test_after_other_conversations_the_answer_is_the_same_to_the_last_bit(real: Engine) -> None:
    engine, mine = fresh(real), conversation(real, LONG)
    before = ask(engine, mine, SAMPLED)
    for other in ("Who was Ada Lovelace?", LONG[40:], "Count to ten.", LONG[:100]):
        ask(engine, conversation(real, other), SAMPLED.but(seed=1))

    after = ask(engine, mine, SAMPLED)

    assert after == before == cold(real, mine, SAMPLED)


@pytest.mark.model
def test_several_answers_are_those_that_come_one_by_one(real: Engine) -> None:
    engine, prompt = fresh(real), conversation(real, LONG)
    ask(engine, prompt, SAMPLED)

    both = ask(engine, prompt, SAMPLED.but(n=2))

    alone = [cold(real, prompt, SAMPLED.but(seed=seed)) for seed in (7, 8)]
    assert both.texts == [answer.text for answer in alone]
    assert both.tokens == [answer.tokens[0] for answer in alone]


@pytest.mark.model
@pytest.mark.parametrize("looks", [1, 2, 6])
def test_after_an_interruption_the_answer_is_that_of_a_fresh_engine(real: Engine, looks: int) -> None:
    engine, prompt, seen = fresh(real), conversation(real, LONG, "Well.", LONG), 0

    def stopped() -> bool:
        nonlocal seen
        seen += 1
        return seen > looks

    ask(engine, prompt, SAMPLED, stopped)
    for again in (prompt, conversation(real, LONG)):
        assert ask(engine, again, SAMPLED) == cold(real, again, SAMPLED)


@pytest.mark.model
def test_answers_that_are_written_at_once_are_those_that_come_one_by_one(real: Engine) -> None:
    engine = fresh(real)
    prompts = [conversation(real, text) for text in (LONG, LONG[:120], LONG, "What is the capital of Spain?")]
    streams = [engine.stream(prompt, SAMPLED, never) for prompt in prompts]
    texts, going = [""] * len(streams), set(range(len(streams)))

    while going:
        for index in sorted(going):
            item = next(streams[index], StopIteration)
            if item is StopIteration:
                going.discard(index)
            elif isinstance(item, Piece):
                texts[index] += item.text

    assert texts == [cold(real, prompt, SAMPLED).text for prompt in prompts]


@pytest.mark.model
@BOTH
def test_json_mode_gives_json(built: Built, number: int) -> None:
    real = open_artifact(folder_of(built, number))
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 20}, "country": {"enum": ["Spain", "France"]}},
        "required": ["capital", "country"],
        "additionalProperties": False,
    }
    options = Options(max_tokens=60, temperature=0, json_schema=json.dumps(schema))

    answer = ask(real, conversation(real, "What is the capital of Spain? Answer in JSON."), options)

    assert answer.reasons == ["stop"]
    jsonschema.validate(json.loads(answer.text), schema)
    assert json.loads(answer.text)["country"] == "Spain"


@pytest.mark.model
def test_tokens_and_probabilities_belong_to_the_text(real: Engine) -> None:
    answer = ask(real, conversation(real, "What is the capital of Spain?"), SAMPLED)

    assert "".join(token.text for token in answer.tokens[0]) == answer.text
    for token in answer.tokens[0]:
        assert token.logprob <= token.top[0][1] <= 0
        assert len(token.top) == 5


@pytest.mark.model
def test_a_version_is_opened_with_the_options_it_was_logged_with(built: Built) -> None:
    expected = Options(max_tokens=300, temperature=0.2, top_p=0.9, top_k=50, repetition_penalty=1.1)

    assert {open_artifact(folder_of(built, number)).options for number in (1, 2, 3)} == {expected}
