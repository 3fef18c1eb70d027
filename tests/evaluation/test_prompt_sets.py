"""Prompt sets: kept as versions that never change, and read from files."""

from __future__ import annotations

import json

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, StoreError
from phi3core.evaluation import datasets, prompt_sets
from phi3core.evaluation.item_files import read_items
from phi3core.evaluation.items import Item, parse_item
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.evaluation.sets import CAPITALS, item


def test_a_set_is_saved_as_a_version_and_read_again(store: Settings, fresh: str) -> None:
    saved = prompt_sets.save_set(store, fresh, CAPITALS)

    assert prompt_sets.read_set(store, fresh) == (saved, CAPITALS)
    assert prompt_sets.read_set(store, saved.ref) == (saved, CAPITALS)
    assert (saved.size, saved.name) == (3, fresh)


def test_changed_items_are_a_new_version_and_the_old_one_stays(settings: Settings) -> None:
    first = prompt_sets.save_set(settings, "capitals", CAPITALS)
    second = prompt_sets.save_set(settings, "capitals", CAPITALS[:2])
    again = prompt_sets.save_set(settings, "capitals", CAPITALS[:2])

    assert again == second
    assert prompt_sets.search_sets(settings) == [second]
    assert prompt_sets.search_sets(settings, versions=True) == [second, first]
    assert prompt_sets.read_set(settings, first.ref)[1] == CAPITALS
    assert prompt_sets.find_set(settings, "capitals") == second


def test_equal_prompts_stay_separate_items(settings: Settings) -> None:
    prompt_sets.save_set(settings, "twice", [item("one"), item("two")])

    assert [one.id for one in prompt_sets.read_set(settings, "twice")[1]] == ["one", "two"]


def test_every_character_survives(settings: Settings) -> None:
    odd = [item("odd", "a\u2028b\x85c\x0cd\r\ne\x00f 🐘", contains=["\u2029"])]
    prompt_sets.save_set(settings, "odd", odd)

    assert prompt_sets.read_set(settings, "odd")[1] == odd


def test_items_that_were_changed_in_the_store_are_refused(settings: Settings) -> None:
    saved = prompt_sets.save_set(settings, "capitals", CAPITALS)
    mlflow_client(settings).log_text(saved.run_id, json.dumps(CAPITALS[0].plain()) + "\n", "items.jsonl")

    with pytest.raises(StoreError, match="they were changed in the store"):
        prompt_sets.read_set(settings, "capitals")


def test_a_version_that_was_not_saved_whole_is_none(settings: Settings) -> None:
    saved = prompt_sets.save_set(settings, "capitals", CAPITALS)
    mlflow_client(settings).delete_tag(saved.run_id, tags.DIGEST)

    assert prompt_sets.search_sets(settings) == []


@pytest.mark.parametrize(("name", "size"), [("everyday", 40), ("adversarial", 20)])
def test_two_sets_ship_with_the_product(settings: Settings, name: str, size: int) -> None:
    found, items = prompt_sets.read_set(settings, name)

    assert (found.size, len(items), found.run_id) == (size, size, "")
    assert all(one.expectations and one.tags for one in items)
    with pytest.raises(Conflict, match="ships with the product"):
        prompt_sets.save_set(settings, name, items)


def test_what_is_no_set_is_told_with_those_that_are(settings: Settings) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS)

    with pytest.raises(NotFound, match="There are: adversarial, everyday, capitals"):
        prompt_sets.find_set(settings, "cities")
    with pytest.raises(NotFound, match="has no version 000000"):
        prompt_sets.find_set(settings, "capitals@000000")
    with pytest.raises(BadInput, match="six digits"):
        prompt_sets.find_set(settings, "capitals@00")


def test_a_viewer_saves_none(settings: Settings) -> None:
    with pytest.raises(Forbidden, match="needs the role reviewer"):
        prompt_sets.save_set(settings, "capitals", CAPITALS, Person("vera@example.org", "viewer"))


# ---------------------------------------------------------------- files


def test_a_csv_file_has_a_column_for_each_expectation() -> None:
    text = (
        "id,prompt,system,contains,number,json_schema,tags\n"
        'a,"Two, or three?",Be short.,2|two,2,"{""type"": ""number""}",x|y\n'
        ",Hi,,,,,\n"
    )

    one, two = read_items("items.csv", text.encode())

    assert one == Item(
        "a",
        ({"role": "system", "content": "Be short."}, {"role": "user", "content": "Two, or three?"}),
        {"contains": ["2", "two"], "number": 2.0, "json_schema": {"type": "number"}},
        ("x", "y"),
    )
    assert two == Item("0002", ({"role": "user", "content": "Hi"},))


def test_messages_of_openai_end_in_the_answer_that_is_compared() -> None:
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    wanted = Item("0001", ({"role": "user", "content": "Hi"},), {"reference": "Hello!"})

    assert read_items("a.json", json.dumps(talk).encode()) == [wanted]
    assert read_items("a.json", json.dumps([{"messages": talk}]).encode()) == [wanted]
    assert read_items("a.jsonl", json.dumps({"messages": talk}).encode()) == [wanted]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.txt", "x", "tells no form"),
        ("a.csv", "question\nx\n", "one of them “prompt”"),
        ("a.csv", "prompt,taste\nx,y\n", "The column “taste” means nothing here"),
        ("a.csv", "prompt,exact\nx\n", "Line 2 has not as many columns"),
        ("a.csv", "prompt,number\nx,many\n", "Line 2: “many” is no number"),
        ("a.csv", "prompt\n", "The first line must name the columns"),
        ("a.jsonl", "{}\n", "Line 1: It needs a “prompt” or “messages”"),
        ("a.jsonl", '{"prompt": "x"}\nx\n', "Line 2 is no JSON"),
        ("a.jsonl", '{"prompt": " "}\n', "must be a user's, with a text"),
        ("a.jsonl", '{"prompt": "x", "taste": 1}\n', "“taste” means nothing here"),
        ("a.jsonl", '{"prompt": "x", "expectations": {"regex": "("}}\n', "is no regular expression"),
        ("a.jsonl", '{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}\n', "Two items have the id “a”"),
        ("a.jsonl", "", "at least one item"),
        ("a.json", "[" * 100_000, "nested too deep"),
        ("a.json", '[[{"role": "tool", "content": "x"}]]', "Item 1: “messages” must be a list of messages with a role"),
        ("a.json", "[1]", "must be an object"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(name: str, text: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_items(name, text.encode())

    assert sentence in str(caught.value)


def test_a_file_that_is_no_text_or_too_large_is_refused() -> None:
    with pytest.raises(BadInput, match="no text in UTF-8"):
        read_items("a.csv", b"\xff\xfe")
    with pytest.raises(BadInput, match="larger than 10 MB"):
        read_items("a.csv", b"x" * 10_000_001)
    with pytest.raises(BadInput, match="longer than 100,000 characters"):
        parse_item({"prompt": "x" * 100_001}, "Line 1", 1)


# ---------------------------------------------------------------- MLflow's datasets


def test_each_version_is_a_dataset_of_mlflow_that_has_the_same_digest(store: Settings, fresh: str) -> None:
    same = [item("one"), item("two"), Item("three", CAPITALS[0].messages, {"number": 3.0}, ("x", "y"))]
    saved = [prompt_sets.save_set(store, fresh, items) for items in (same, CAPITALS)]

    for version, items in zip(saved, (same, CAPITALS)):
        dataset = datasets.publish(store, version.ref, version.digest, items)
        kept = mlflow_client(store).get_dataset(dataset)
        assert (kept.name, kept.tags[tags.PROMPT_SET]) == (version.ref, version.ref)
        assert datasets.read_items(store, dataset) == (items, version.digest)
    home = experiment_id(store, tags.EVALUATIONS)
    where = f"name = '{saved[0].ref}'"
    assert len(mlflow_client(store).search_datasets([home], where)) == 1, "it is made once"


def test_a_dataset_that_was_not_written_whole_is_completed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "publish", lambda *_: "")
        saved = prompt_sets.save_set(settings, "capitals", CAPITALS)
    datasets.publish(settings, saved.ref, saved.digest, CAPITALS[:1])

    dataset = datasets.publish(settings, saved.ref, saved.digest, CAPITALS)
    assert datasets.read_items(settings, dataset)[1] == saved.digest


def test_a_set_is_saved_in_a_store_that_keeps_no_datasets(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise MlflowException("No such call", error_code=ENDPOINT_NOT_FOUND)

    monkeypatch.setattr(MlflowClient, "search_datasets", unknown)

    assert prompt_sets.save_set(settings, "capitals", CAPITALS).size == 3
    assert datasets.publish(settings, "capitals@0123456", "0123456", CAPITALS) == ""
