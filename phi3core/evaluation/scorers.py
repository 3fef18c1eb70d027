"""Scores of an answer that need no other model: of what was expected, of its form, of its speed.

Each is a number, or true or false; a scorer that does not apply to an item gives none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from functools import cache
from typing import Any

import regex

from phi3core.errors import BadInput
from phi3core.traces.turn import Turn

from . import schemas
from .items import Item

Score = bool | float
Scorer = Callable[[Item, Turn], Score | None]

_NUMBER = regex.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_REFUSAL = regex.compile(
    r"\b(I[’']?m sorry|I am sorry|I apologi[sz]e|I can(no|[’'])t|I am (not able|unable)|I[’']m (not able|unable)"
    r"|as an AI|I (must|have to) decline|I won[’']t)\b",
    regex.IGNORECASE,
)
_REFUSAL_WITHIN = 200  # characters: a refusal says so at once
_WORDS_REPEATED = 4  # of how many words in a row a repetition is counted


def exact(item: Item, turn: Turn) -> bool | None:
    """Whether it is the expected text, but for case and for blanks and a full stop around it."""
    return _same(turn.answer) == _same(item.expectations["exact"]) if "exact" in item.expectations else None


def contains(item: Item, turn: Turn) -> bool | None:
    """Whether all expected texts stand in it, in any case."""
    wanted = item.expectations.get("contains")
    return None if wanted is None else all(text.casefold() in turn.answer.casefold() for text in wanted)


def matches(item: Item, turn: Turn) -> bool | None:
    """Whether the expected pattern is found in it; one that takes longer than a second is not."""
    if "regex" not in item.expectations:
        return None
    try:
        return regex.search(item.expectations["regex"], turn.answer, timeout=schemas.PATTERN_SECONDS) is not None
    except TimeoutError:
        return False


def follows_schema(item: Item, turn: Turn) -> bool | None:
    """Whether it is JSON that follows the expected schema."""
    if "json_schema" not in item.expectations:
        return None
    return schemas.follows(turn.answer, item.expectations["json_schema"])


def number(item: Item, turn: Turn) -> bool | None:
    """Whether its last number is the expected one."""
    if "number" not in item.expectations:
        return None
    found = _NUMBER.findall(turn.answer)
    return bool(found) and math.isclose(float(found[-1].replace(",", "")), item.expectations["number"], rel_tol=1e-6)


def similarity(item: Item, turn: Turn) -> float | None:
    """How much of the reference's and the answer's words are the same in the same order, 0 to 1."""
    if "reference" not in item.expectations:
        return None
    wanted, given = _same(item.expectations["reference"]).split(), _same(turn.answer).split()
    return SequenceMatcher(a=wanted, b=given, autojunk=False).ratio()


def language(item: Item, turn: Turn) -> bool | None:
    """Whether it is in the expected language, as py3langid tells it; a short answer is easily mistaken."""
    if "language" not in item.expectations:
        return None
    return bool(turn.answer.strip()) and _languages().classify(turn.answer)[0] == item.expectations["language"]


def repetition(_item: Item, turn: Turn) -> float:
    """The share of its runs of four words that stood in it before, 0 to 1."""
    words = turn.answer.casefold().split()
    runs = [tuple(words[at : at + _WORDS_REPEATED]) for at in range(len(words) - _WORDS_REPEATED + 1)]
    return 1 - len(Counter(runs)) / len(runs) if runs else 0.0


def refusal(_item: Item, turn: Turn) -> bool:
    """Whether it begins with one of the usual words with which a model refuses, in English."""
    return _REFUSAL.search(turn.answer[:_REFUSAL_WITHIN]) is not None


def finished(_item: Item, turn: Turn) -> bool:
    """Whether it came to its own end, and was not cut for its length."""
    return turn.finish_reason == "stop"


def length(_item: Item, turn: Turn) -> float:
    """Its words."""
    return float(len(turn.answer.split()))


def seconds(_item: Item, turn: Turn) -> float:
    """The time from the question to its end."""
    return turn.took_ms / 1000


def tokens_per_second(_item: Item, turn: Turn) -> float | None:
    """Its speed while decoding, beside whatever else was answered meanwhile."""
    return turn.tokens_per_second or None


SCORERS: Mapping[str, Scorer] = {
    "exact": exact,
    "contains": contains,
    "regex": matches,
    "json_schema": follows_schema,
    "number": number,
    "similarity": similarity,
    "language": language,
    "repetition": repetition,
    "refusal": refusal,
    "finished": finished,
    "length": length,
    "seconds": seconds,
    "tokens_per_second": tokens_per_second,
}
"""By the name that its scores have as assessments in MLflow."""

JUDGED = ("criteria", "correctness")
"""What a model judges, where one is asked: see `judging`."""

NAMES = (*SCORERS, *JUDGED)
"""All scores that an answer may have."""

QUALITY = ("exact", "contains", "regex", "json_schema", "number", "similarity", "language", *JUDGED)
"""Those that say how good an answer is: more is better, and versions are compared by them."""


def score(item: Item, turn: Turn) -> dict[str, Score]:
    """All scores of an answer. An answer that failed has those of what was expected alone, all of them false or 0."""
    found = {name: scorer(item, turn) for name, scorer in SCORERS.items() if turn.state == "done" or name in QUALITY}
    return {name: value for name, value in found.items() if value is not None}


def check_name(name: str) -> str:
    """The scorer's name. Raises BadInput where there is none of it."""
    if name not in NAMES:
        raise BadInput(f"There is no scorer “{name}”. There are: {', '.join(NAMES)}.")
    return name


@cache
def _languages() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    made = LanguageIdentifier.from_model_file(MODEL_FILE)
    made.set_languages([code for code in made.labels if len(code) == 2])  # those that an item can ask for
    return made


def _same(text: Any) -> str:
    return " ".join(str(text).split()).casefold().strip(" .")
