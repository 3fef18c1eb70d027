"""Saved prompts in the prompt registry."""

from __future__ import annotations

import pytest

from phi3core.access.roles import Person
from phi3core.chat import prompts
from phi3core.errors import BadInput, Conflict, NotFound
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.support import fakes

ADA, BOB = Person("ada", "admin"), Person("bob", "reviewer")


def test_a_prompt_is_saved_listed_and_loaded_with_who_and_why(settings: Settings) -> None:
    saved = prompts.save(settings, "greet", "Hello {{name}}!", note="To begin with", person=ADA)
    assert (saved.name, saved.version, saved.text, saved.note, saved.user) == (
        "greet", 1, "Hello {{name}}!", "To begin with", "ada",
    )  # fmt: skip
    assert saved.when > 1_600_000_000_000
    assert prompts.load(settings, "greet") == saved
    assert list(prompts.search_prompts(settings)) == [saved]


def test_saving_again_makes_a_version_unless_the_text_is_the_same(settings: Settings) -> None:
    first = prompts.save(settings, "greet", "Hello", person=ADA)
    assert prompts.save(settings, "greet", "Hello", person=BOB) == first
    second = prompts.save(settings, "greet", "Hello you", person=BOB)
    assert (second.version, second.user) == (2, "bob")
    assert list(prompts.list_versions(settings, "greet")) == [second, first]
    assert prompts.load(settings, "greet", 1) == first
    assert prompts.load(settings, "greet") == second
    prompts.save(settings, "Another", "Text")
    assert [(prompt.name, prompt.version) for prompt in prompts.search_prompts(settings)] == [
        ("Another", 1),
        ("greet", 2),
    ]


def test_a_list_of_many_takes_one_call(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        prompts.save(settings, f"p{number}", "text")
    counting = fakes.CountingClient(mlflow_client(settings))
    monkeypatch.setattr(prompts, "mlflow_client", lambda settings: counting)
    assert len(prompts.search_prompts(settings)) == 5
    assert sum(counting.calls.values()) == 1


def test_a_deleted_prompt_is_gone_and_its_name_is_free(settings: Settings) -> None:
    prompts.save(settings, "greet", "Hello")
    prompts.save(settings, "greet", "Hello you")
    prompts.delete(settings, "greet")
    assert list(prompts.search_prompts(settings)) == []
    with pytest.raises(NotFound, match="no saved prompt “greet”"):
        prompts.load(settings, "greet")
    with pytest.raises(NotFound):
        prompts.delete(settings, "greet")
    assert prompts.save(settings, "greet", "Anew").version == 1


def test_what_is_not_there_is_told(settings: Settings) -> None:
    prompts.save(settings, "greet", "Hello")
    with pytest.raises(NotFound, match="no version 9"):
        prompts.load(settings, "greet", 9)
    for name in ("nobody", "it's", "' OR 1=1", ""):
        with pytest.raises(NotFound):
            prompts.list_versions(settings, name)


@pytest.mark.parametrize("name", ["", "a b", "ä", "a/b", "a@b", "x" * 300])
def test_a_name_that_the_registry_does_not_take_is_told(settings: Settings, name: str) -> None:
    with pytest.raises(BadInput, match="letters, digits"):
        prompts.save(settings, name, "text")


def test_an_empty_and_an_overlong_prompt_are_refused_and_odd_ones_are_kept(settings: Settings) -> None:
    with pytest.raises(BadInput, match="empty"):
        prompts.save(settings, "greet", " \n")
    with pytest.raises(BadInput, match="100,001 characters"):
        prompts.save(settings, "greet", "x" * 100_001)
    assert prompts.save(settings, "long", "x" * 100_000).text == "x" * 100_000
    assert prompts.save(settings, "odd", "a\x00b\ud800 {% if %} 日本 \x1b").text == "ab\ufffd {% if %} 日本 \x1b"


def test_models_and_prompts_do_not_mix(settings: Settings) -> None:
    fakes.register(settings, "phi3")
    prompts.save(settings, "greet", "Hello")
    assert [model.name for model in reader.list_models(settings)] == ["phi3"]
    with pytest.raises(NotFound):
        reader.list_versions(settings, "greet")
    with pytest.raises(NotFound):
        reader.get_version(settings, "greet/1")
    with pytest.raises(Conflict, match="registered model is called “phi3”"):
        prompts.save(settings, "phi3", "Hello")
    with pytest.raises(NotFound):
        prompts.delete(settings, "phi3")
    assert [model.name for model in reader.list_models(settings)] == ["phi3"]


def test_variables_are_found_once_each_in_order() -> None:
    text = "{{b}} and {{ a }} and {{b}}, not {c}, {{ }}, {{1x}} or { {d} }"
    assert prompts.find_variables(text) == ["b", "a"]


def test_variables_are_filled_in_one_pass() -> None:
    assert prompts.fill_variables("{{a}} {{ b }} {{a}}", {"a": "{{b}}", "b": "\\1 $0"}) == "{{b}} \\1 $0 {{b}}"
    with pytest.raises(BadInput, match=r"Fill in b, c first"):
        prompts.fill_variables("{{a}} {{b}} {{c}}", {"a": "x", "b": " "})
    assert prompts.fill_variables("nothing", {}) == "nothing"
