"""The items of a review: what was asked with the answer, or the two, that are judged; kept as a file of its run.

What was read of a review once stays in memory: it never changes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from phi3core.clean_text import clean
from phi3core.errors import BadInput, StoreError
from phi3core.evaluation.items import Item
from phi3core.evaluation.judgement import Form
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors

from .review import Review

FILE = "items.jsonl"
MOST = 20_000
"""Items of a review at most."""

_KEPT = 8  # reviews whose items are in memory


@dataclass(frozen=True)
class Answer:
    """A version's answer. trace_id: of its trace."""

    ref: str
    text: str
    trace_id: str


@dataclass(frozen=True)
class ReviewItem:
    """What is judged. id: it tells nothing of what it is. prompt: the id of the prompt set's item.

    messages: what was asked, OpenAI's. right: the other answer, where two are compared. criteria: what a reader should
    look at, in words, as the prompt set has it.
    """

    id: str
    prompt: str
    messages: tuple[Mapping[str, str], ...]
    left: Answer
    right: Answer | None = None
    criteria: str = ""

    @property
    def answers(self) -> tuple[Answer, ...]:
        return (self.left,) if self.right is None else (self.left, self.right)

    @property
    def trace_id(self) -> str:
        """Of the trace that has the votes on it."""
        return self.left.trace_id


def make_items(
    form: Form, mark: str, asked: Sequence[Item], refs: Sequence[str], answers: Mapping[tuple[str, str], Answer]
) -> list[ReviewItem]:
    """All that is judged of an evaluation's answers.

    Args:
        mark: goes into the ids, so that those of two reviews differ.
        answers: by the prompt set's item and the version.

    Raises:
        BadInput: there are too many, or none.
    """
    found: list[ReviewItem] = []
    sides = combinations(refs, 2) if form == "pairwise" else ((ref, "") for ref in refs)
    for one, other in list(sides):
        for item in asked:
            left, right = answers.get((item.id, one)), answers.get((item.id, other))
            # Two equal answers leave nothing to choose between.
            if left is None or (other and (right is None or right.text == left.text)):
                continue
            id = hashlib.sha256("\n".join([mark, item.id, one, other]).encode()).hexdigest()[:16]
            criteria = str(item.expectations.get("criteria", ""))
            found.append(ReviewItem(id, item.id, item.messages, left, right, criteria))
    if not found:
        raise BadInput("There is nothing to judge: no two different answers, or none at all.")
    if len(found) > MOST:
        raise BadInput(f"A review has at most {MOST:,} items, and these are {len(found):,}: take fewer versions.")
    return found


def to_text(items: Sequence[ReviewItem]) -> str:
    """The artifact's content; `digest_of` is of it."""
    lines = (json.dumps(clean(asdict(item)), ensure_ascii=False, sort_keys=True) for item in items)
    return "".join(f"{line}\n" for line in lines)


def digest_of(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


_kept: OrderedDict[tuple[str, str, str], Mapping[str, ReviewItem]] = OrderedDict()
_lock = threading.Lock()


def items_of(settings: Settings, review: Review) -> Mapping[str, ReviewItem]:
    """A review's items by id, in the order they were made.

    Raises:
        NotFound, StoreDown: they can't be read.
        StoreError: they were changed in the store.
    """
    key = settings.tracking_uri, review.id, review.items_digest
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = _read(settings, review)
    with _lock:
        _kept[key] = found
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return found


def _read(settings: Settings, review: Review) -> Mapping[str, ReviewItem]:
    with translate_errors(settings), TemporaryDirectory() as folder:
        path = mlflow_client(settings).download_artifacts(review.id, FILE, folder)
        text = Path(path).read_bytes().decode(errors="replace")
    if digest_of(text) != review.items_digest or not review.intact:
        raise StoreError("This review is not what it was when it was made: it was changed in the store.")
    items = (_parse(json.loads(line)) for line in text.rstrip("\n").split("\n"))
    return {item.id: item for item in items}


def _parse(data: dict[str, Any]) -> ReviewItem:
    sides = {name: Answer(**data[name]) if data[name] else None for name in ("left", "right")}
    return ReviewItem(**{**data, **sides, "messages": tuple(data["messages"])})
