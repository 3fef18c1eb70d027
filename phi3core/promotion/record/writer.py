"""Writing records: a run that is created with its whole intent before the first change, and closed after the last.

Records are only appended, sealed and chained (seal.py), so that an edit shows.
"""

from __future__ import annotations

import contextlib
import functools
import json
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from filelock import FileLock, Timeout

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, NotFound, Phi3Error
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors
from phi3core.timestamps import from_ms, now_ms, to_ms

from . import seal
from .model import Record, title
from .search import newest_seal, of_run, page

_LONGEST = 2000  # characters of a sentence: MLflow cuts a run's tag at 8,000 without a word
_LONGEST_CHECKS = 7500
_NAME = 250  # characters of a run's name: PostgreSQL refuses longer ones
_TRIES = 8
_MANY = 1000  # open records, at most
_PATIENCE = timedelta(seconds=60)  # how long a process on another machine may be silent
_LONG_PATIENCE = timedelta(days=1)  # the same for a copy, which sends gigabytes and changes nothing here


class Intent(TypedDict, total=False):
    """The optional parts of a record (see Record); "" or empty when left out."""

    old: str
    new: str
    replaced: str
    replaced_to: str
    reason: str
    digest: str
    checks: Iterable[Mapping[str, Any]]
    override: str
    request: str
    evidence: str


@dataclass
class OpenRecord:
    """A record of a change that is under way.

    outcome: the sentence that it is closed with when the change succeeds. ended: when that was true, if not at the
    time of closing.
    """

    id: str
    seal: str
    outcome: str = ""
    ended: datetime | None = None


@contextlib.contextmanager
def opened(
    settings: Settings, person: Person, *, model: str, version: int | None, action: str, **intent: Unpack[Intent]
) -> Iterator[OpenRecord]:
    """A record around a change: open while the change is under way; then done, or failed when the change raises.

    Raises BadInput for a reason that is too long, Conflict where the experiment of records was deleted, StoreDown.
    """
    tag_values = _tags(settings, person, model, version, action, intent)
    with _held_lock(settings) as lock:
        record = _create(settings, tag_values | {tags.LOCK: lock}, {})
        try:
            yield record
        except BaseException as error:
            with contextlib.suppress(Phi3Error):  # the caller sees the first error; a reconciliation closes the record
                close(settings, record, "failed", str(error)[:_LONGEST] or repr(error))
            raise
        close(settings, record, "done", record.outcome or "Done.")


def append(
    settings: Settings,
    person: Person,
    *,
    model: str,
    version: int | None,
    action: str,
    outcome: str = "Done.",
    **intent: Unpack[Intent],
) -> Record:
    """A record of a change without steps: written with its outcome, all at once. Raises as `opened` does."""
    tag_values = _tags(settings, person, model, version, action, intent)
    result = {tags.STATUS: "done", tags.OUTCOME: outcome[:_LONGEST], tags.ENDED: str(now_ms())}
    made = _create(settings, tag_values, result)
    store = mlflow_client(settings)
    with translate_errors(settings):
        store.set_terminated(made.id, seal.STATUSES["done"], int(result[tags.ENDED]))
        return of_run(store.get_run(made.id), settings.record_key)


def close(settings: Settings, record: OpenRecord | Record, status: str, outcome: str) -> None:
    """Write a record's outcome. status: done, failed or interrupted."""
    from mlflow.entities import RunTag

    at = to_ms(record.ended) if record.ended else now_ms()
    result = {tags.STATUS: status, tags.OUTCOME: outcome, tags.ENDED: str(at)}
    sealed = result | {tags.CLOSING: seal.of_result(result | {tags.SEAL: record.seal}, settings.record_key)}
    store = mlflow_client(settings)
    with translate_errors(settings):
        store.log_batch(record.id, tags=[RunTag(name, value) for name, value in sealed.items()])
        store.set_terminated(record.id, seal.STATUSES[status], at)


def restore(settings: Settings, person: Person) -> None:
    """Bring a deleted experiment of records back, with all its records. Raises Forbidden, NotFound."""
    roles.require(person, "admin", "restoring the records")
    with translate_errors(settings):
        found = mlflow_client(settings).get_experiment_by_name(tags.PROMOTIONS)
        if found is None:
            raise NotFound("There are no records yet: nothing was deleted that could be restored.")
        if found.lifecycle_stage == "deleted":
            mlflow_client(settings).restore_experiment(found.experiment_id)
            append(settings, person, model="", version=None, action="restore", reason="The records had been deleted.")


def set_run_status(settings: Settings, record: Record) -> None:
    """Give a record's run the status in its tags, where the writing process ended before it did so."""
    at = to_ms(record.ended or now())
    with translate_errors(settings):
        mlflow_client(settings).set_terminated(record.id, seal.STATUSES.get(record.written, "KILLED"), at)


def is_writer_alive(settings: Settings, record: Record) -> bool | None:
    """Whether the process that opened a record still runs; None where it was opened on another machine."""
    if record.host != host(settings) or not record.lock:
        return None
    file = settings.locks / f"record-{record.lock}.lock"
    try:
        with FileLock(file, timeout=0):
            file.unlink(missing_ok=True)
            return False
    except Timeout:
        return True


def is_alive(settings: Settings, record: Record) -> bool:
    """Whether the process that opened a record may still be at work on it."""
    alive = is_writer_alive(settings, record)
    if alive is not None:
        return alive
    patience = _LONG_PATIENCE if record.action == "copy" else _PATIENCE
    return now() - record.started < patience


def at_work(settings: Settings, name: str, actions: Iterable[str], own: str) -> list[Record]:
    """The open records with one of these actions whose processes are at work. own: the id of one to leave out."""
    listed = page(settings, model=name, status="open", limit=_MANY).records
    others = [r for r in listed if r.action in actions and r.id != own and not r.written]
    return [record for record in others if is_alive(settings, record)]


@functools.cache
def host(settings: Settings) -> str:
    """This machine's name with a random mark of its home: processes that share both share their locks."""
    file = settings.locks / "host"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            file.write_text(secrets.token_hex(4))
        return f"{socket.gethostname()}/{file.read_text()}"


def now() -> datetime:
    """The time as a record keeps it, to the millisecond."""
    return from_ms(now_ms())


def _tags(
    settings: Settings, person: Person, model: str, version: int | None, action: str, intent: Intent
) -> dict[str, str]:
    for text in (intent.get("reason", ""), intent.get("override", "")):
        if len(text) > _LONGEST:
            raise BadInput(f"The reason has {len(text)} characters. Write at most {_LONGEST}.")
    evidence = intent.get("evidence", "")
    if len(evidence) > _LONGEST_CHECKS:
        raise BadInput(f"The evidence has {len(evidence):,} characters, and {_LONGEST_CHECKS:,} fit into a record.")
    return ({tags.EVIDENCE: evidence} if evidence else {}) | {
        tags.ACTION: action,
        tags.MODEL_NAME: model,
        tags.VERSION: "" if version is None else str(version),
        tags.FROM: intent.get("old", ""),
        tags.TO: intent.get("new", ""),
        tags.REPLACED: intent.get("replaced", ""),
        tags.REPLACED_TO: intent.get("replaced_to", ""),
        tags.REASON: intent.get("reason", "").strip(),
        tags.USER: person.name,
        tags.ROLE: person.role,
        tags.HOST: host(settings),
        tags.DIGEST: intent.get("digest", ""),
        tags.CHECKS: _checks(intent.get("checks", ())),
        tags.OVERRIDE: intent.get("override", "").strip(),
        tags.REQUEST: intent.get("request", ""),
        tags.LOCK: "",
    }


def _create(settings: Settings, tag_values: dict[str, str], result: dict[str, str]) -> OpenRecord:
    """Create the run with all its tags in one call, so that no record is ever half-written; then extend the chain."""
    home, model, started = experiment_id(settings, tags.PROMOTIONS), tag_values[tags.MODEL_NAME], now_ms()
    tag_values = tag_values | {tags.PREVIOUS: newest_seal(settings, model) or ""}
    tag_values |= {tags.SEAL: seal.of_intent(tag_values, started, settings.record_key)}
    if result:
        result = result | {tags.CLOSING: seal.of_result(result | tag_values, settings.record_key)}
    ref = f"{model}/{tag_values[tags.VERSION]}" if tag_values[tags.VERSION] else model
    says = title(ref, tag_values[tags.ACTION], tag_values[tags.FROM], tag_values[tags.TO])
    with translate_errors(settings):
        run = mlflow_client(settings).create_run(
            home, started, tag_values | result | {tags.NOTE: _note(says, tag_values)}, says[:_NAME]
        )
    _set_head(settings, model, home, tag_values[tags.SEAL])
    return OpenRecord(run.info.run_id, tag_values[tags.SEAL])


def _set_head(settings: Settings, model: str, home: str, seal: str) -> None:
    for attempt in range(_TRIES):
        try:
            with contextlib.suppress(NotFound), translate_errors(settings):
                if model:
                    mlflow_client(settings).set_registered_model_tag(model, tags.RECORD, seal)
                else:
                    mlflow_client(settings).set_experiment_tag(home, tags.RECORD, seal)
            return
        except Conflict:  # two machines create the tag at once, and the database refuses one of them
            if attempt == _TRIES - 1:
                raise
            time.sleep(0.02 * (attempt + 1))


@contextlib.contextmanager
def _held_lock(settings: Settings) -> Iterator[str]:
    """Hold a lock of this record's own, which is released with the process, however that ends. Yields its name."""
    mark = secrets.token_hex(8)
    file = settings.locks / f"record-{mark}.lock"
    with FileLock(file):
        yield mark
    file.unlink(missing_ok=True)


def _checks(checks: Iterable[Mapping[str, Any]]) -> str:
    """As JSON that fits into a tag: evidence that is too long is cut."""
    listed = [dict(check) for check in checks]
    for longest in (_LONGEST, 500, 100, 20, 0):
        cut = [check | {"says": str(check.get("says", ""))[:longest]} for check in listed]
        text = json.dumps(cut, ensure_ascii=False)
        if len(text) <= _LONGEST_CHECKS:
            return text if cut else ""
    raise BadInput(f"A policy of {len(listed)} lines is too long to be recorded. Make it shorter.")


def _note(says: str, tag_values: dict[str, str]) -> str:
    left = f"{tag_values[tags.REPLACED]} → {tag_values[tags.REPLACED_TO]}" if tag_values[tags.REPLACED] else ""
    parts = (says, left, f"by {tag_values[tags.USER]}", tag_values[tags.REASON], tag_values[tags.OVERRIDE])
    return " · ".join(part for part in parts if part)
