"""Answers that follow a JSON schema, on a random model that would never write JSON by itself."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from phi3core.engine import guidance
from phi3core.engine.interface import Done, End, Engine, Options, Piece, Token
from phi3core.engine.weights import open_weights
from phi3core.errors import BadInput

PLACE = {
    "type": "object",
    "properties": {"city": {"enum": ["Madrid", "Paris"]}, "people": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": 0, "maximum": 9},
                "c": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 1},
            },
            "required": ["n", "c"],
            "additionalProperties": False,
        }
    },
}
HOT = Options(max_tokens=100, temperature=1.5, top_p=1, top_k=1000, seed=1)


@pytest.fixture(scope="module", params=["transformers", "onnx"])
def engine(request: pytest.FixtureRequest, tiny_once: Path, tiny_onnx: Path) -> Engine:
    return open_weights(tiny_once if request.param == "transformers" else tiny_onnx, request.param)


def ask(engine: Engine, options: Options, prompt: str = "Hello") -> tuple[list[str], list[str], list[Token], Done]:
    """Texts, reasons, the first answer's tokens, and the end."""
    *items, done = engine.stream(prompt, options, lambda: False)
    assert isinstance(done, Done)
    texts = ["" for _ in range(options.n)]
    for item in items:
        if isinstance(item, Piece):
            texts[item.index] += item.text
    reasons = [item.finish_reason for item in items if isinstance(item, End)]
    tokens = [token for item in items if isinstance(item, Piece) and item.index == 0 for token in item.tokens]
    return texts, reasons, tokens, done


def text_of(schema: Any) -> str:
    return json.dumps(schema)


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "schema",
    [
        PLACE,
        {"type": "boolean"},
        {"enum": ["a", "b", 3, None]},
        {"const": {"x": 1}},
        {"type": "string", "minLength": 3, "maxLength": 5},
        {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"},
        {"type": "string", "format": "date"},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
        {"anyOf": [{"type": "null"}, {"type": "object", "properties": {}, "additionalProperties": False}]},
    ],
    ids=lambda schema: json.dumps(schema)[:30],
)
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_follows_its_schema(engine: Engine, schema: dict[str, Any], temperature: float) -> None:
    for seed in range(3):
        options = HOT.but(json_schema=text_of(schema), temperature=temperature, seed=seed)
        (text,), (reason,), _, done = ask(engine, options)
        jsonschema.validate(json.loads(text), schema)
        assert reason == "stop"
        assert done.completion_tokens < 100


def test_without_a_schema_the_same_model_writes_no_json(engine: Engine) -> None:
    (text,), _, _, _ = ask(engine, HOT)

    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_any_object_is_what_json_mode_asks_for(engine: Engine) -> None:
    """A random model does not come to an end by itself: what it wrote until then is the beginning of an object."""
    for seed in range(5):
        options = HOT.but(json_schema='{"type": "object"}', seed=seed)
        (text,), (reason,), _, _ = ask(engine, options)
        assert text.startswith("{")
        if reason == "stop":
            assert isinstance(json.loads(text), dict)
        else:
            assert reason == "length"


def test_a_recursive_schema_works(engine: Engine) -> None:
    done = 0
    for seed in range(8):
        (text,), (reason,), _, _ = ask(engine, HOT.but(json_schema=text_of(TREE), seed=seed))
        if reason == "stop":
            jsonschema.validate(json.loads(text), TREE)
            done += 1
        else:
            assert text.startswith('{"n":')

    assert done > 0


def test_an_answer_that_is_cut_says_length(engine: Engine) -> None:
    (text,), (reason,), _, done = ask(engine, HOT.but(json_schema=text_of(PLACE), max_tokens=7))

    assert (reason, done.completion_tokens, len(text)) == ("length", 7, 7)
    assert '{"city":"Madrid"'.startswith(text) or '{"city":"Paris"'.startswith(text)


def test_an_endless_minimum_is_cut_where_the_context_ends(engine: Engine) -> None:
    schema = {"type": "string", "minLength": 1_000_000}

    (text,), (reason,), _, done = ask(engine, HOT.but(json_schema=text_of(schema), max_tokens=500))

    assert reason == "length"
    assert text.startswith('"')
    assert done.prompt_tokens + done.completion_tokens == engine.context_length


def test_an_answer_whose_last_token_completes_it_is_no_cut_one(engine: Engine) -> None:
    """`true` is four tokens of this tokenizer, and so is the limit."""
    (text,), (reason,), _, _ = ask(engine, HOT.but(json_schema='{"const": true}', max_tokens=4))

    assert (text, reason) == ("true", "stop")


# ---------------------------------------------------------------- together with the rest


def test_a_schema_goes_with_several_answers(engine: Engine) -> None:
    texts, reasons, _, _ = ask(engine, HOT.but(json_schema=text_of(PLACE), n=3))

    for text in texts:
        jsonschema.validate(json.loads(text), PLACE)
    assert reasons == ["stop"] * 3
    assert len(set(texts)) > 1


def test_a_schema_goes_with_probabilities_which_are_the_models_own(engine: Engine) -> None:
    free = ask(engine, HOT.but(logprobs=5, max_tokens=1))[2]

    (text,), _, tokens, _ = ask(engine, HOT.but(json_schema=text_of(PLACE), logprobs=5))

    jsonschema.validate(json.loads(text), PLACE)
    assert "".join(token.text for token in tokens) == text
    assert tokens[0].text == "{"
    assert tokens[0].top == free[0].top
    assert tokens[0].logprob <= tokens[0].top[0][1]


def test_a_schema_goes_with_stop_sequences(engine: Engine) -> None:
    (text,), (reason,), _, _ = ask(engine, HOT.but(json_schema=text_of(PLACE), stop=(',"people"',)))

    assert (text, reason) in (('{"city":"Madrid"', "stop"), ('{"city":"Paris"', "stop"))


def test_a_schema_goes_with_penalties(engine: Engine) -> None:
    options = HOT.but(json_schema=text_of(PLACE), presence_penalty=-2, frequency_penalty=-2, repetition_penalty=0.5)

    (text,), _, _, _ = ask(engine, options)

    jsonschema.validate(json.loads(text), PLACE)


def test_kept_or_not_the_answer_is_the_same(engine: Engine) -> None:
    options = HOT.but(json_schema=text_of(PLACE), logprobs=3)
    first = ask(engine, options, "Where is it?")

    again = ask(engine, options, "Where is it?")

    assert again[:3] == first[:3]
    assert again[3].cached_tokens == len("Where is it?") - 1


def test_after_a_schema_the_next_answer_is_free(engine: Engine) -> None:
    before = ask(engine, HOT)
    ask(engine, HOT.but(json_schema=text_of(PLACE)))

    assert ask(engine, HOT)[:2] == before[:2]


def test_two_answers_at_once_each_follow_their_own_schema(engine: Engine) -> None:
    schemas = ['{"const": "left"}', '{"const": "right"}']
    streams = [engine.stream("Hello", HOT.but(json_schema=schema), lambda: False) for schema in schemas]
    texts, going = ["", ""], {0, 1}

    while going:
        for index in sorted(going):
            item = next(streams[index], StopIteration)
            if item is StopIteration:
                going.discard(index)
            elif isinstance(item, Piece):
                texts[index] += item.text

    assert texts == ['"left"', '"right"']


# ---------------------------------------------------------------- schemas that can't be followed


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("no json", "read: expected"),
        ("[]", "read: Expecting object schema"),
        ("3", "read: Expecting object schema"),
        ('{"type": "nonsense"}', "Invalid type: nonsense"),
        ('{"type": "string", "minLength": 5, "maxLength": 2}', "Unsatisfiable"),
        ('{"type": "integer", "minimum": 5, "maximum": 3}', "Unsatisfiable"),
        ('{"type": "string", "pattern": "("}', "unclosed group"),
        ('{"type": "string", "format": "unheard of"}', "Unknown format"),
        ('{"enum": []}', "Unsatisfiable"),
        ('{"allOf": [{"type": "string"}, {"type": "integer"}]}', "Unsatisfiable"),
        ('{"$ref": "#/nowhere"}', "does not exist"),
        ('{"$ref": "http://schema.example/place"}', "not present"),
        ('{"not": {"type": "string"}}', "Unimplemented"),
    ],
)
def test_a_schema_that_cant_be_followed_is_refused_with_a_sentence(engine: Engine, schema: str, told: str) -> None:
    with pytest.raises(BadInput, match=f"^The JSON schema can't be .*{told}") as caught:
        engine.check("Hello", HOT.but(json_schema=schema))
    with pytest.raises(BadInput, match="^The JSON schema can't be "):
        ask(engine, HOT.but(json_schema=schema))

    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_refused_schema_leaves_the_engine_as_it_was(engine: Engine) -> None:
    before = ask(engine, HOT)
    with pytest.raises(BadInput):
        ask(engine, HOT.but(json_schema='{"type": "nonsense"}'))

    assert ask(engine, HOT)[:2] == before[:2]


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [f"value {number}" for number in range(20_000)]},
        {"type": "array", "minItems": 100_000, "items": {"type": "string"}},
        {"type": "string", "pattern": "^(a+)+$"},
        {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(500)}},
    ],
    ids=["many values", "many items", "nested repetition", "many properties"],
)
def test_a_large_schema_is_looked_at_in_no_time(schema: dict[str, Any]) -> None:
    begun = time.monotonic()
    guidance.check(text_of(schema))

    assert time.monotonic() - begun < 5


# ---------------------------------------------------------------- the mask


def test_only_what_may_come_next_stays_possible(tiny_once: Path) -> None:
    made = guidance.Guidance((tiny_once / "tokenizer.json").read_text(), 288, 2)
    constraint = made.follow('{"enum": [1, 2]}')
    vocabulary = json.loads((tiny_once / "tokenizer.json").read_text())["model"]["vocab"]
    logits = np.zeros(288, np.float32)

    constraint.apply(logits)

    assert sorted(np.flatnonzero(np.isfinite(logits)).tolist()) == sorted([vocabulary["1"], vocabulary["2"]])
    assert constraint.take(vocabulary["1"])
