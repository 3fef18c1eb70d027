"""Drafts of prompt sets: what was written is kept whatever happens, and becomes a version when it is saved."""

from __future__ import annotations

import stat
from typing import Any

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.chat.conversation import Conversation
from phi3core.errors import BadInput, Conflict, Forbidden
from phi3core.evaluation import conversation_items, drafts, prompt_sets
from phi3core.evaluation.drafts import Draft
from phi3core.evaluation.item_fields import fields_of, parse_fields
from phi3core.evaluation.items import Item, split_items
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.traces.turn import Turn
from tests.app.servers import FakePool
from tests.evaluation.sets import CAPITALS, item
from tests.support.judging import ADA, BOB

FULL = Item(
    "full",
    ({"role": "system", "content": "Be short."}, {"role": "user", "content": "How many? 🐘\u2028"}),
    {
        "exact": "3", "contains": ["a|b", "two\nlines"], "regex": r"\d", "number": 3.5, "reference": "Three.",
        "criteria": "Short.", "json_schema": {"type": "object", "required": ["n"]},
    },
    ("math",),
)  # fmt: skip


def test_an_item_is_the_same_after_it_was_opened_in_the_form() -> None:
    assert parse_fields(fields_of(FULL), "x", 1) == FULL


def test_what_was_written_is_there_for_this_person_alone_until_it_is_saved(settings: Settings) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS, ADA)
    draft = drafts.begin(settings, ADA, "capitals", "capitals")
    key = draft.entries[0]["key"]

    def edit(draft: Draft) -> None:
        entry = draft.entry(key)
        assert entry
        entry["regex"] = "("  # which makes no sense yet

    drafts.change(settings, ADA, "capitals", edit)

    assert drafts.names(settings, ADA) == ["capitals"]
    assert (drafts.names(settings, BOB), drafts.read(settings, BOB, "capitals")) == ([], None)
    assert drafts.begin(settings, ADA, "capitals", "capitals").entries[0]["regex"] == "("
    with pytest.raises(BadInput, match="The item “spain”: .*no regular expression"):
        drafts.save(settings, ADA, "capitals")
    drafts.change(settings, ADA, "capitals", lambda draft: draft.entries[0].update(regex="M"))
    saved = drafts.save(settings, ADA, "capitals")
    assert prompt_sets.read_set(settings, saved.ref)[1][0].expectations == {"contains": ["Madrid"], "regex": "M"}
    assert drafts.names(settings, ADA) == []


def test_a_draft_does_not_hide_what_another_has_saved_meanwhile(settings: Settings) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS, ADA)
    drafts.begin(settings, ADA, "capitals", "capitals")
    drafts.change(settings, ADA, "capitals", lambda draft: draft.entries.pop())
    other = prompt_sets.save_set(settings, "capitals", [*CAPITALS, item("more", "More?")], BOB)

    with pytest.raises(Conflict, match="bob@example.org has saved capitals@"):
        drafts.save(settings, ADA, "capitals")

    saved = drafts.save(settings, ADA, "capitals", over=True)
    assert prompt_sets.search_sets(settings, versions=True)[:2] == [saved, other]


def test_what_another_page_writes_while_a_draft_is_saved_stays_a_draft(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS, ADA)
    drafts.begin(settings, ADA, "capitals", "capitals")
    drafts.change(settings, ADA, "capitals", lambda draft: draft.entries[0].update(criteria="Short."))
    real = prompt_sets.save_set

    def slowly(*args: Any) -> prompt_sets.PromptSet:
        drafts.change(settings, ADA, "capitals", lambda draft: draft.entries[1].update(criteria="Long."))
        return real(*args)

    monkeypatch.setattr(prompt_sets, "save_set", slowly)
    saved = drafts.save(settings, ADA, "capitals")
    left = drafts.read(settings, ADA, "capitals")
    assert left is not None
    assert ([entry["criteria"] for entry in left.entries], left.base) == (["Short.", "Long.", ""], saved.digest)
    monkeypatch.setattr(prompt_sets, "save_set", real)
    drafts.save(settings, ADA, "capitals")
    assert not drafts.change(settings, ADA, "capitals", lambda draft: draft.entries.clear())


def test_a_draft_is_nobody_elses_to_read_and_a_damaged_one_is_told(settings: Settings) -> None:
    drafts.begin(settings, ADA, "new")
    (path,) = (settings.home / "drafts").glob("*.json")

    assert not stat.S_IMODE(path.parent.stat().st_mode) & 0o077
    path.write_text("{")
    with pytest.raises(BadInput, match="is damaged"):
        drafts.read(settings, ADA, "new")


def test_the_name_of_a_set_that_ships_is_taken(settings: Settings) -> None:
    with pytest.raises(Conflict, match="ships with the product"):
        drafts.begin(settings, ADA, "everyday")
    copy = drafts.begin(settings, ADA, "my everyday", "everyday")
    assert (len(copy.entries), copy.base) == (40, "")
    assert drafts.save(settings, ADA, copy.name).size == 40


def test_items_that_are_added_at_once_are_all_there_and_none_twice(settings: Settings) -> None:
    prompt_sets.add_items(settings, "capitals", CAPITALS[:2], ADA)

    saved, added = prompt_sets.add_items(
        settings,
        "capitals",
        [CAPITALS[0], item("spain", "Another question"), item("b", "New?"), item("c", "New?")],
        BOB,
    )

    assert added == 2
    assert [one.id for one in prompt_sets.read_set(settings, saved.ref)[1]] == ["spain", "france", "0003", "b"]
    assert prompt_sets.add_items(settings, "capitals", CAPITALS[:1], BOB) == (saved, 0)


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        ({"reference": "x" * 20_001}, "The item “odd”: What is expected is longer than 20,000"),
        ({"exact": ""}, "The item “odd” expects nothing by “exact”"),
        ({"contains": []}, "expects nothing by “contains”"),
        ({"number": float("nan")}, "must be a number"),
        ({"number": float("inf")}, "must be a number"),
    ],
)
def test_what_could_not_be_read_or_edited_again_is_not_saved(
    settings: Settings, expected: dict[str, object], why: str
) -> None:
    odd = Item("odd", ({"role": "user", "content": "?"},), expected)
    for save in (prompt_sets.save_set, prompt_sets.add_items):
        with pytest.raises(BadInput, match=why):
            save(settings, "capitals", [odd], ADA)
    assert prompt_sets.search_sets(settings) == []


def test_an_answer_that_is_too_long_for_a_reference_leaves_the_item_without(settings: Settings) -> None:
    turn = Turn("Tell me all.", "phi3/1", answer="x" * 20_001, state="done")
    talk = Conversation(settings, FakePool(), turns=[turn])
    (found,) = conversation_items.items_of([talk])

    saved, _ = prompt_sets.add_items(settings, "talks", [found], ADA)

    assert (found.prompt, prompt_sets.read_set(settings, saved.ref)[1]) == ("Tell me all.", [found])
    assert found.expectations == {}


def test_the_same_prompt_falls_into_the_same_part_also_when_the_set_has_grown() -> None:
    items = [item(f"i{number}", f"Question {number}?") for number in range(200)]
    one, other = split_items(items[:100], 0.7)
    more, _ = split_items(items[::-1], 0.7)

    assert len(one) + len(other) == 100
    assert 55 <= len(one) <= 85
    assert {entry.id for entry in one} <= {entry.id for entry in more}


def test_only_a_version_that_nothing_is_of_can_be_deleted_by_who_saved_it(settings: Settings) -> None:

    first = prompt_sets.save_set(settings, "capitals", CAPITALS, ADA)
    second = prompt_sets.save_set(settings, "capitals", CAPITALS[:2], ADA)
    third = prompt_sets.save_set(settings, "capitals", CAPITALS[:1], ADA)
    for of, tag, experiment in ((first, tags.DIGEST, tags.EVALUATIONS), (third, tags.SET_DIGEST, tags.REVIEWS)):
        mlflow_client(settings).create_run(experiment_id(settings, experiment), tags={tag: of.digest})

    with pytest.raises(Conflict, match="an evaluation is of it"):
        prompt_sets.delete_version(settings, first, ADA)
    with pytest.raises(Conflict, match="a review is of it"):
        prompt_sets.delete_version(settings, third, ADA)
    with pytest.raises(Forbidden, match="Only ada@example.org"):
        prompt_sets.delete_version(settings, second, BOB)
    prompt_sets.delete_version(settings, second, Person("root", "admin"))
    assert prompt_sets.search_sets(settings, versions=True) == [third, first]
