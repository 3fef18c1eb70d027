"""What pydantic finds wrong, as the sentences that a person reads."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field, field_validator

from phi3core.errors import BadInput
from phi3core.validation import Table, validate


class Limit(Table):
    metric: str
    at_least: float | None = None


class Wanted(Table):
    kind: Literal["chat", "prompt", "text"]
    role: Literal["none", "viewer", "editor", "admin"] = "viewer"
    title: str = Field("untitled", min_length=1)
    approvals: int = Field(0, ge=0, le=100)
    names: list[str] = Field(default=[], description="a list of e-mails")
    signed: bool = False
    limits: list[Limit] = Field(default=[])
    stage: str = ""

    @field_validator("stage")
    @classmethod
    def _known(cls, stage: str) -> str:
        if stage == "Moon":
            raise ValueError("“Moon” is no stage: write Production.")
        return stage


class Named(Table):
    missing: ClassVar[str] = "is missing. A name needs a first."
    unknown: ClassVar[str] = "is no name."

    first: str


GOOD = {"kind": "chat"}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({}, "“kind” is missing."),
        ({"kind": "talk"}, "“kind” is “talk”; it must be chat or prompt or text."),
        ({"kind": 3}, "“kind” must be text in quotes."),
        ({**GOOD, "role": "boss"}, "“role” is “boss”; it must be one of none, viewer, editor, admin."),
        ({**GOOD, "title": ""}, "“title” is missing."),
        ({**GOOD, "approvals": -1}, "“approvals” must be at least 0."),
        ({**GOOD, "approvals": 101}, "“approvals” must be at most 100."),
        ({**GOOD, "approvals": True}, "“approvals” must be a whole number."),
        ({**GOOD, "approvals": "3"}, "“approvals” must be a whole number."),
        ({**GOOD, "names": "ada"}, "“names” must be a list of e-mails."),
        ({**GOOD, "names": ["ada", 3]}, "“names” must be a list of e-mails."),
        ({**GOOD, "signed": 1}, "“signed” must be true or false."),
        ({**GOOD, "stage": 3}, "“stage” must be text in quotes."),
        ({**GOOD, "stage": "Moon"}, "“Moon” is no stage: write Production."),
        ({**GOOD, "limits": 3}, "“limits” must be a list."),
        ({**GOOD, "limits": [3]}, "“limits[0]” must be a table."),
        ({**GOOD, "limits": [{}]}, "“limits[0].metric” is missing."),
        ({**GOOD, "limits": [{"metric": "speed", "at_least": "1"}]}, "“limits[0].at_least” must be a number."),
        ({**GOOD, "limits": [{"metric": "speed", "most": 1}]}, "“limits[0].most” means nothing here."),
        (
            {**GOOD, "colour": "red"},
            "“colour” means nothing here. Known are approvals, kind, limits, names, role, signed, stage, title.",
        ),
        (3, "it must be a table."),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_key_and_what_to_write(data: Any, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        validate(Wanted, data, "a.toml, [wanted]")
    assert str(caught.value) == f"a.toml, [wanted]: {sentence}"


def test_a_table_has_words_of_its_own_for_its_keys() -> None:
    with pytest.raises(BadInput, match=r"^“first” is missing. A name needs a first.$"):
        validate(Named, {})
    with pytest.raises(BadInput, match=r"^“last” is no name.$"):
        validate(Named, {"first": "Ada", "last": "Lovelace"})


def test_what_was_written_does_not_come_along_with_the_error() -> None:
    with pytest.raises(BadInput) as caught:
        validate(Wanted, {**GOOD, "signed": "a-very-secret-key"})
    assert "a-very-secret-key" not in f"{caught.value}{caught.value.__cause__}"


def test_what_is_right_is_given_as_it_was_written() -> None:
    found = validate(Wanted, {**GOOD, "limits": [{"metric": "speed", "at_least": 2}]})
    assert (found.kind, found.approvals, found.limits[0].at_least) == ("chat", 0, 2.0)
