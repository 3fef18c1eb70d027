"""Seals: what shows that a record was edited, deleted or made up outside of this app.

A record's seal covers everything it says it intends and the seal of the model's record before it; its closing
seal covers its outcome. The registered model's tag ``phi3.record`` holds the latest seal. Without a key
(``PHI3_RECORD_KEY``) a seal is a plain SHA-256: it shows an edit, but not one whose editor computed the seals anew.
With a key, plain seals count only before the first that was made with it. Which records may be acted upon is in
trust.py. Knows nothing of stores.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from phi3core import tags

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
"""The prefix of a seal that was made with a key."""
STATUSES: Final = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""The status of a closed record, and MLflow's status of its run."""


def of_intent(tag_values: Mapping[str, str], started: int, key: str) -> str:
    """The seal of what a record intends. started: milliseconds since 1970."""
    sealed = {**{name: tag_values.get(name, "") for name in INTENT}, "started": str(started)}
    # Records without evidence are sealed as they were before there was any; one that gets some later is edited.
    sealed |= {name: tag_values[name] for name in (tags.EVIDENCE,) if name in tag_values}
    return _seal(sealed, key)


def of_result(tag_values: Mapping[str, str], key: str) -> str:
    """The seal of a record's outcome. It covers the first seal, so that no outcome can be moved to another record."""
    return _seal({name: tag_values.get(name, "") for name in (*RESULT, tags.SEAL)}, key)


def intact(tag_values: Mapping[str, str], started: int, status: str, key: str) -> bool:
    """Whether a record is sealed, and is what it was when it was written.

    Args:
        tag_values: the tags of its run.
        started: the run's start in milliseconds since 1970.
        status: the run's status in MLflow.
        key: the key of the records, "" for none.
    """
    seal = tag_values.get(tags.SEAL, "")
    key = key if keyed(seal) else ""  # sealed before there was a key; `damage` judges whether that can be
    if (keyed(seal) and not key) or not _same(seal, of_intent(tag_values, started, key)):
        return False
    if tags.CLOSING not in tag_values:
        return status == "RUNNING" and tags.STATUS not in tag_values
    closed = STATUSES.get(tag_values.get(tags.STATUS, ""))
    return _same(tag_values[tags.CLOSING], of_result(tag_values, key)) and status in ("RUNNING", closed)


def of_content(content: Mapping[str, str], key: str) -> str:
    """The seal of what is sealed by itself, outside of any chain of records."""
    return _seal(content, key)


def holds(seal: str, content: Mapping[str, str], key: str) -> bool:
    """Whether such a seal is of this content. With a key, one that was made without it holds nothing."""
    return keyed(seal) == bool(key) and _same(seal, _seal(content, key))


def keyed(seal: str) -> bool:
    """Whether a seal was made with a key."""
    return seal.startswith(KEYED)


def missing_head(records: Sequence[Record], head: str | None) -> bool:
    """Whether the record that the model's tag names is not among its records."""
    return bool(head) and head not in {record.seal for record in records}


def damage(records: Sequence[Record], head: str | None, whole: bool, key: str) -> list[str]:
    """Sentences about what was done to a model's records outside of this app; [] when nothing was.

    Args:
        records: newest first.
        head: the seal in the model's tag, None where there is no such model.
        whole: whether these are all its records, not the newest few.
        key: the key of the records, "" for none.
    """
    with_key = [record for record in records if keyed(record.seal)]
    if with_key and not key:
        return [f"{len(with_key)} records are sealed with a key. Set PHI3_RECORD_KEY to have them verified."]
    found = [f"{_quoted(record)} was edited after it was written." for record in records if record.doubt == "edited"]
    found += [
        f"{_quoted(record)} was edited after it was written, or made up: it is sealed without the key."
        for record in records
        if record.intact and with_key and not keyed(record.seal) and record.started > with_key[-1].started
    ]
    found += _gaps(records, whole)
    found += [
        f"{_quoted(record)} was not written by this app: it has no seal."
        for record in records
        if record.doubt == "no seal"
    ]
    if missing_head(records, head):
        found.append("The latest record of the model is missing: it was deleted.")
    if head == "" and any(record.seal for record in records):
        found.append(f"The model's tag {tags.RECORD}, which names its latest record, is missing: it was deleted.")
    return found


def _gaps(records: Sequence[Record], whole: bool) -> list[str]:
    """A sentence for each record whose predecessor in the chain is missing."""
    chained = [record for record in records if record.seal]
    # Records of the same moment may have been opened in any order: the oldest few may lead out of what was read.
    inside = chained if whole else chained[: -len(chained) // 2]
    seals = {record.seal for record in records}
    whose = (records[0].model if records else "") or "a restoration"
    return [
        f"A record of {whose} before {record.started:%Y-%m-%d %H:%M:%S} UTC is missing: it was deleted."
        for record in inside
        if record.previous and record.previous not in seals
    ]


def believable(records: Iterable[Record], edited: bool = False) -> list[Record]:
    """Those of a model's records that a timeline may rest on: neither edited nor, as far as these show, made up.

    edited: include records that this app wrote and that were edited since. A record that is sealed with a key that is
    not known here is included: a timeline without any would be no truer.
    """
    found = [record for record in records if record.seal and (edited or record.intact or record.unproven)]
    keyed_since = min((record.started for record in found if keyed(record.seal)), default=None)
    if keyed_since is None or any(record.unproven for record in found):
        return found  # without the key new records are sealed plainly, and must be believed
    return [record for record in found if keyed(record.seal) or record.started <= keyed_since]


def _quoted(record: Record) -> str:
    return f"The record “{record.says}” of {record.started:%Y-%m-%d %H:%M} UTC"


def _seal(content: Mapping[str, str], key: str) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
    if key:
        return KEYED + hmac.new(key.encode(), text, hashlib.sha256).hexdigest()
    return "sha256-" + hashlib.sha256(text).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
