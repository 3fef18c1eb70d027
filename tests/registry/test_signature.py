"""Signatures in words, and what a change of one does to programs. MLflow itself is the judge of what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from phi3core.registry import signature

PROMPT = {"inputs": [{"type": "string", "name": "prompt"}], "outputs": [{"type": "string"}], "params": []}
CHAT = {
    "inputs": [
        {
            "name": "messages",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"role": {"type": "string"}, "content": {"type": "string", "required": False}},
            },
        },
        {"name": "temperature", "type": "double", "required": False},
    ],
    "outputs": [{"name": "choices", "type": "array", "items": {"type": "any"}}],
}


def takes(**columns: str | dict[str, Any]) -> signature.Signature:
    """A signature whose inputs have these types, required unless they say otherwise."""
    made = [{"name": n, **({"type": t} if isinstance(t, str) else t)} for n, t in columns.items()]
    return {"inputs": made, "outputs": [], "params": []}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (PROMPT, "It takes “prompt” (text) and gives text."),
        (CHAT, "It takes messages of a conversation and answers with a chat completion, as OpenAI's protocol does."),
        (
            takes(a="long", b={"type": "double", "required": False}),
            "It takes “a” (whole number) (and 1 more, optional) and gives what it does not say.",
        ),
        ({}, "It was logged without a signature: nothing says what it takes, and MLflow checks nothing."),
    ],
)
def test_a_signature_is_told_in_a_sentence(given: signature.Signature, said: str) -> None:
    assert signature.describe_signature(given) == said


def test_nested_columns_tensors_and_options_are_told_in_words() -> None:
    assert signature.describe_column(CHAT["inputs"][0]) == "messages: list of record (role, content?)"
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}
    assert signature.describe_column(tensor) == "tensor of float32, any × 3"
    assert (
        signature.describe_param({"name": "stop", "type": "string", "shape": [-1], "default": []})
        == "stop: list of text, else []"
    )


def test_the_same_signature_breaks_nothing() -> None:
    assert (
        signature.breaking_changes(PROMPT, PROMPT)
        == signature.breaking_changes(CHAT, CHAT)
        == signature.breaking_changes({}, {})
        == []
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            takes(a="long"),
            takes(a="long", b="string"),
            "“b” must be sent, and programs don't send it yet: they are refused.",
        ),
        (takes(a="long", b="string"), takes(a="long"), "“b” is no longer taken: what programs send in it is ignored."),
        (takes(a="string"), takes(a="double"), "“a” must be number; programs send text and are refused."),
        (takes(a="double"), takes(a="long"), "“a” must be whole number; programs send number and are refused."),
        (
            takes(a={"type": "long", "required": False}),
            takes(a="long"),
            "“a” must be sent now; programs that leave it out are refused.",
        ),
    ],
)
def test_a_change_of_inputs_says_what_programs_meet(
    old: signature.Signature, new: signature.Signature, said: str
) -> None:
    assert signature.breaking_changes(old, new) == [said]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (takes(a="integer"), takes(a="long")),
        (takes(a="float"), takes(a="double")),
        (takes(a="integer"), takes(a="double")),
        (takes(a="long"), takes(a={"type": "long", "required": False})),
        (takes(a="long"), takes(a="long", b={"type": "string", "required": False})),
    ],
)
def test_what_only_widens_breaks_nothing(old: signature.Signature, new: signature.Signature) -> None:
    assert signature.breaking_changes(old, new) == []


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("integer", "long"),
        ("float", "double"),
        ("integer", "double"),
        ("string", "double"),
        ("double", "long"),
        ("long", "integer"),
    ],
)
def test_types_fit_where_mlflow_takes_them(was: str, now: str) -> None:
    """What is said to break is what MLflow's own enforcement refuses, and nothing else."""
    import pandas as pd
    from mlflow.exceptions import MlflowException
    from mlflow.models.utils import _enforce_schema
    from mlflow.types import ColSpec, DataType, Schema

    numpy = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64", "string": "object"}[was]
    value = "x" if was == "string" else 7
    try:
        _enforce_schema(pd.DataFrame({"a": pd.Series([value], dtype=numpy)}), Schema([ColSpec(DataType[now], "a")]))
        refused = False
    except MlflowException:
        refused = True
    assert bool(signature.breaking_changes(takes(a=was), takes(a=now))) is refused


def test_a_record_s_property_that_is_gone_is_refused_and_one_that_is_new_and_optional_is_not() -> None:
    def record(**properties: bool) -> signature.Signature:
        parts = {name: {"type": "string", "required": needed} for name, needed in properties.items()}
        return takes(messages={"type": "array", "items": {"type": "object", "properties": parts}})

    assert signature.breaking_changes(record(role=True), record(role=True, name=False)) == []
    assert signature.breaking_changes(record(role=True, name=False), record(role=True)) == [
        "“messages[].name” is no longer known; programs that send it are refused."
    ]
    assert signature.breaking_changes(record(role=True), record(role=True, id=True)) == [
        "“messages[].id” must be sent, and programs don't send it yet: they are refused."
    ]


def test_outputs_and_options_that_go_are_told() -> None:
    old = {
        "outputs": [{"name": "label", "type": "string"}],
        "params": [{"name": "top_k", "type": "long", "default": 5}],
    }
    assert signature.breaking_changes(old, {"outputs": [{"name": "other", "type": "string"}], "params": []}) == [
        "“label” is no longer in the answer; programs that read it find nothing.",
        "The option “top_k” is no longer known: MLflow drops it without a word.",
    ]
    changed = {
        "outputs": [{"name": "label", "type": "long"}],
        "params": [{"name": "top_k", "type": "string", "default": ""}],
    }
    assert signature.breaking_changes(old, changed) == [
        "“label” of the answer becomes whole number; programs that read text stumble.",
        "The option “top_k” must be text; programs send whole number and are refused.",
    ]


def test_many_breaks_of_one_kind_are_one_sentence() -> None:
    said = signature.breaking_changes(takes(**{f"x{n}": "long" for n in range(10)}), takes())
    assert len(said) == 1
    assert said[0].startswith("“x0”, “x1”")
    assert "and 2 more are no longer taken" in said[0]


def test_a_signature_that_appears_or_goes_is_told() -> None:
    assert "no longer checked" in signature.breaking_changes(PROMPT, {})[0]
    assert "refused now" in signature.breaking_changes({}, PROMPT)[0]
