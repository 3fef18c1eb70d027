"""Seals: what shows that a record was edited, taken out or made up behind our back.

A record's seal covers everything it says it intends and the seal of the model's record before it; its closing
seal covers what came of it. The registered model's tag ``phi3.record`` holds the latest seal. Without a key
(``PHI3_RECORD_KEY``) a seal is a plain SHA-256: it shows an edit, not an editor who also computes the seals anew.
With one, plain seals count only before the first that was made with it. Which records count where something rests on
them is in trust.py. Knows nothing of stores.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from phi3core import tags

if TYPE_CHECKING:
    from .model import Record

INTENT: Final = (
    tags.ACTION,
    tags.MODEL_NAME,
    tags.VERSION,
    tags.FROM,
    tags.TO,
    tags.REPLACED,
    tags.REPLACED_TO,
    tags.REASON,
    tags.USER,
    tags.ROLE,
    tags.HOST,
    tags.DIGEST,
    tags.CHECKS,
    tags.OVERRIDE,
    tags.REQUEST,
    tags.LOCK,
    tags.PREVIOUS,
)
RESULT: Final = (tags.STATUS, tags.OUTCOME, tags.ENDED)
KEYED: Final = "hmac-"
"""What a seal begins with that was made with a key."""


def of_intent(tag_values: Mapping[str, str], started: int, key: str) -> str:
    """The seal of what a record intends. started: milliseconds since 1970."""
    return _seal({**{name: tag_values.get(name, "") for name in INTENT}, "started": str(started)}, key)


def of_result(tag_values: Mapping[str, str], key: str) -> str:
    """The seal of what came of it. It covers the first one, so that no outcome can be put under another record."""
    return _seal({name: tag_values.get(name, "") for name in (*RESULT, tags.SEAL)}, key)


def intact(tag_values: Mapping[str, str], started: int, status: str, key: str) -> bool:
    """Whether a record is what it was when it was written. status: what MLflow says of its run.

    A record of the time before there were seals is taken as it is: one that lost its seal breaks the chain.
    """
    if tags.SEAL not in tag_values and tags.PREVIOUS not in tag_values:
        return True
    seal = tag_values.get(tags.SEAL, "")
    key = key if keyed(seal) else ""  # made before there was a key; `damage` judges whether that can be
    if (keyed(seal) and not key) or not _same(seal, of_intent(tag_values, started, key)):
        return False
    if tags.CLOSING not in tag_values:
        return status == "RUNNING" and tags.STATUS not in tag_values
    closed = STATUSES.get(tag_values.get(tags.STATUS, ""))
    return _same(tag_values[tags.CLOSING], of_result(tag_values, key)) and status in ("RUNNING", closed)


def keyed(seal: str) -> bool:
    """Whether a seal was made with a key."""
    return seal.startswith(KEYED)


def missing_head(records: Sequence[Record], head: str | None) -> bool:
    """Whether the record that the model's tag names is not there."""
    return bool(head) and head not in {record.seal for record in records}


STATUSES: Final = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""Ours, and MLflow's word for it."""


def damage(records: Sequence[Record], head: str | None, whole: bool, key: str) -> list[str]:
    """Sentences about what was done to a model's records, which come newest first; [] when nothing was.

    head: the model's tag, None where there is no such model. whole: these are all its records, not the newest few.
    """
    locked = [record for record in records if keyed(record.seal)]
    if locked and not key:
        return [f"{len(locked)} records are sealed with a key. Set PHI3_RECORD_KEY to have them verified."]
    seals = {record.seal for record in records}
    chained = [record for record in records if record.seal]
    found = [f"{_told(record)} was edited after it was written." for record in records if not record.intact]
    found += [
        f"{_told(record)} was edited after it was written, or made up: it is sealed without the key."
        for record in chained
        if record.intact and locked and not keyed(record.seal) and record.started > locked[-1].started
    ]
    # Records of the same moment may have been opened in any order: the oldest few may lead out of what was read.
    inside = chained if whole else chained[: -len(chained) // 2]
    whose = (records[0].model if records else "") or "a restoration"
    found += [
        f"A record of {whose} before {record.started:%Y-%m-%d %H:%M:%S} UTC is missing: it was deleted."
        for record in inside
        if record.previous and record.previous not in seals
    ]
    found += [
        f"{_told(record)} was not written by this app: it has no seal."
        for record in records
        if record.intact and not record.seal and chained and record.started >= chained[-1].started
    ]
    if missing_head(records, head):
        found.append("The latest record of the model is missing: it was deleted.")
    if head == "" and chained:
        found.append(f"The model's tag {tags.RECORD}, which names its latest record, is missing: it was deleted.")
    return found


def believable(records: Iterable[Record], edited: bool = False) -> list[Record]:
    """Those of a model's records that a tale may rest on: neither edited nor, as far as these show, made up.

    edited: those too that were written by this app, and edited since. What is sealed with a key that is not known here
    is believed: a timeline of nothing would be no truer.
    """
    found = [record for record in records if edited or record.intact or record.unproven]
    sealed = min((record.started for record in found if record.seal), default=None)
    keyed_since = min((record.started for record in found if keyed(record.seal)), default=None)
    if any(record.unproven for record in found):
        keyed_since = None  # whoever has no key writes plain ones after, and must believe them
    return [
        record
        for record in found
        if keyed(record.seal)
        or (record.seal and (keyed_since is None or record.started <= keyed_since))
        or (not record.seal and (sealed is None or record.started < sealed))
    ]


def _told(record: Record) -> str:
    return f"The record “{record.says}” of {record.started:%Y-%m-%d %H:%M} UTC"


def _seal(content: Mapping[str, str], key: str) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
    if key:
        return KEYED + hmac.new(key.encode(), text, hashlib.sha256).hexdigest()
    return "sha256-" + hashlib.sha256(text).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
