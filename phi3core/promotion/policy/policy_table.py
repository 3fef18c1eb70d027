"""A policy as JSON has it: what a person or a script may write, checked by pydantic."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from pydantic import Field, ValidationInfo, field_validator, model_validator

from phi3core.validation import Table

MOST: Final = {"approvals": 100, "reviews": 1_000_000}


class ThresholdTable(Table):
    """A metric's limits."""

    metric: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _check(cls, plain: Any) -> Any:
        if not isinstance(plain, dict):
            return plain
        name, least, most = plain.get("metric"), plain.get("at_least"), plain.get("at_most")
        if not isinstance(name, str) or not name.strip():
            raise ValueError("A threshold names no metric: write which one it is about, such as tokens_per_second.")
        name = name.strip()
        given = [value for value in (least, most) if value is not None]
        if not given:
            raise ValueError(f"The threshold on {name} has no limit: write at least, at most or both.")
        for value in given:
            if not _is_number(value):
                raise ValueError(f"The limit of {name} is “{value}”: write a number.")
        if len(given) == 2 and given[0] > given[1]:
            raise ValueError(f"{name} can't be at least {given[0]:g} and at most {given[1]:g}: no value is both.")
        return plain | {"metric": name}


class ScoreTable(Table):
    """The least mean of a scorer on a prompt set."""

    prompt_set: str = ""
    scorer: str = ""
    at_least: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _check(cls, plain: Any) -> Any:
        if not isinstance(plain, dict):
            return plain
        scorer, least = plain.get("scorer"), plain.get("at_least")
        if not isinstance(scorer, str) or not scorer.strip():
            raise ValueError("A score names no scorer: write which one it is about, such as contains.")
        if not _is_number(least):
            raise ValueError(f"The least score of {scorer.strip()} is “{least}”: write a number.")
        return plain | {"scorer": scorer.strip(), "prompt_set": _pinned(plain.get("prompt_set"))}


class PolicyTable(Table):
    """What a stage needs."""

    approvals: int = 0
    other_approver: bool = False
    reviews: int = 0
    win_rate: float | None = None
    metrics: list[ThresholdTable] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    same_signature: bool = False
    review_win_rate: float | None = None
    agreement: float | None = None
    no_regression: list[str] = Field(default_factory=list)
    scores: list[ScoreTable] = Field(default_factory=list)

    @field_validator("approvals", "reviews", mode="before")
    @classmethod
    def _count(cls, value: Any, info: ValidationInfo) -> Any:
        most = MOST[str(info.field_name)]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise ValueError(f"{info.field_name} is “{value}”: write a whole number from 0 to {most:,}.")
        return value

    @field_validator("other_approver", "same_signature", mode="before")
    @classmethod
    def _flag(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, bool):
            raise ValueError(f"{info.field_name} is “{value}”: write true or false.")
        return value

    @field_validator("win_rate", "review_win_rate", "agreement", mode="before")
    @classmethod
    def _rate(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and not (_is_number(value) and 0 <= value <= 1):
            raise ValueError(f"{info.field_name} is “{value}”: write a number from 0 to 1, such as 0.55.")
        return value

    @field_validator("no_regression", mode="before")
    @classmethod
    def _prompt_sets(cls, value: Any) -> Any:
        return [_pinned(name) for name in value] if isinstance(value, list) else value

    @field_validator("tags", mode="before")
    @classmethod
    def _tags(cls, value: Any) -> Any:
        return [_trimmed_tag(tag) for tag in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _named_once(self) -> PolicyTable:
        metrics = [limit.metric for limit in self.metrics]
        named = {
            "metric": metrics,
            "tag": [tag.partition("=")[0] for tag in self.tags],
            "prompt set": self.no_regression,
            "score": [f"{limit.scorer} on {limit.prompt_set}" for limit in self.scores],
        }
        for what, names in named.items():
            if twice := next((name for name in names if names.count(name) > 1), ""):
                raise ValueError(f"The {what} “{twice}” is named twice: write one line for it.")
        return self


def _trimmed_tag(tag: Any) -> str:
    key, sign, value = tag.partition("=") if isinstance(tag, str) else ("", "", "")
    if not key.strip():
        raise ValueError(f"“{tag}” names no tag: write key, or key=value.")
    return f"{key.strip()}{sign}{value.strip()}"


def _pinned(name: Any) -> str:
    """A prompt set with its whole digest: items that were saved later under its name are others."""
    if not isinstance(name, str) or not re.fullmatch(r"\S.*@[0-9a-f]{64}", name.strip()):
        raise ValueError(f"“{name}” names no version of a prompt set: write name@digest, with the whole digest.")
    return name.strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
