"""Writing records: a run that is made with its whole intent before the first change, and closed after the last.

We only append: nothing that was written is written anew. Sealed and chained (chain.py), so that an edit shows.
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
from datetime import datetime
from typing import Any, TypedDict, Unpack

from filelock import FileLock, Timeout

from .. import keys
from ..errors import BadInput, Conflict, NotFound, Phi3Error
from ..people import Person
from ..settings import Settings
from ..store import client, errors, experiment
from . import chain
from .record import Record, of_run, title, when

_LONGEST = 2000  # characters of a sentence: MLflow cuts a run's tag at 8,000 without a word
_LONGEST_CHECKS = 7500
_NAME = 250  # characters of a run's name: PostgreSQL refuses longer ones
_TRIES = 8


class Intent(TypedDict, total=False):
    """What a record may say besides what it must; everything is "" or empty when left out. See Record."""

    old: str
    new: str
    replaced: str
    replaced_to: str
    reason: str
    digest: str
    checks: Iterable[Mapping[str, Any]]
    override: str
    request: str


@dataclass
class Opened:
    """A record that is open. outcome: what it will say when it is done. ended: when that was true, if not now."""

    id: str
    seal: str
    outcome: str = ""
    ended: datetime | None = None


@contextlib.contextmanager
def opened(
    settings: Settings, person: Person, *, model: str, version: int | None, action: str, **intent: Unpack[Intent]
) -> Iterator[Opened]:
    """A record around a change: open while it is under way; then done, or failed when the change raises.

    Raises BadInput for a reason that is too long, Conflict where the experiment of records was deleted, StoreDown.
    """
    tags = _tags(settings, person, model, version, action, intent)
    with _alive(settings) as lock:
        record = _create(settings, tags | {keys.LOCK: lock}, {})
        try:
            yield record
        except BaseException as error:
            with contextlib.suppress(Phi3Error):  # what went wrong is told; the next look closes the record
                close(settings, record, "failed", str(error)[:_LONGEST] or repr(error))
            raise
        close(settings, record, "done", record.outcome or "Done.")


def append(
    settings: Settings, person: Person, *, model: str, version: int | None, action: str, **intent: Unpack[Intent]
) -> Record:
    """A record of something that has no steps: written with its outcome, all at once. Raises as `opened` does."""
    tags = _tags(settings, person, model, version, action, intent)
    result = {keys.STATUS: "done", keys.OUTCOME: "Done.", keys.ENDED: str(_now())}
    made = _create(settings, tags, result)
    store = client(settings)
    with errors(settings):
        store.set_terminated(made.id, chain.STATUSES["done"], int(result[keys.ENDED]))
        return of_run(store.get_run(made.id), settings.record_key)


def close(settings: Settings, record: Opened | Record, status: str, outcome: str) -> None:
    """Write what came of a record. status: done, failed or interrupted."""
    from mlflow.entities import RunTag

    at = int(record.ended.timestamp() * 1000) if record.ended else _now()
    result = {keys.STATUS: status, keys.OUTCOME: outcome, keys.ENDED: str(at)}
    sealed = result | {keys.CLOSING: chain.of_result(result | {keys.SEAL: record.seal}, settings.record_key)}
    store = client(settings)
    with errors(settings):
        store.log_batch(record.id, tags=[RunTag(name, value) for name, value in sealed.items()])
        store.set_terminated(record.id, chain.STATUSES[status], at)


def finish(settings: Settings, record: Record) -> None:
    """Tell MLflow how a record was closed, where its writer died in between."""
    at = int((record.ended or now()).timestamp() * 1000)
    with errors(settings):
        client(settings).set_terminated(record.id, chain.STATUSES.get(record.written, "KILLED"), at)


def alive(settings: Settings, record: Record) -> bool | None:
    """Whether whoever opened a record on this machine still runs; None where it was opened on another one."""
    if record.host != host(settings) or not record.lock:
        return None
    file = settings.locks / f"record-{record.lock}.lock"
    try:
        with FileLock(file, timeout=0):
            file.unlink(missing_ok=True)
            return False
    except Timeout:
        return True


@functools.cache
def host(settings: Settings) -> str:
    """This machine's name with a random mark of its home: who shares it shares its locks."""
    file = settings.locks / "host"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            file.write_text(secrets.token_hex(4))
        return f"{socket.gethostname()}/{file.read_text()}"


def now() -> datetime:
    """The time as a record keeps it, to the millisecond."""
    return when(_now())


def _tags(
    settings: Settings, person: Person, model: str, version: int | None, action: str, intent: Intent
) -> dict[str, str]:
    for text in (intent.get("reason", ""), intent.get("override", "")):
        if len(text) > _LONGEST:
            raise BadInput(f"The reason has {len(text)} characters. Write at most {_LONGEST}.")
    return {
        keys.ACTION: action,
        keys.MODEL_NAME: model,
        keys.VERSION: "" if version is None else str(version),
        keys.FROM: intent.get("old", ""),
        keys.TO: intent.get("new", ""),
        keys.REPLACED: intent.get("replaced", ""),
        keys.REPLACED_TO: intent.get("replaced_to", ""),
        keys.REASON: intent.get("reason", "").strip(),
        keys.USER: person.name,
        keys.ROLE: person.role,
        keys.HOST: host(settings),
        keys.DIGEST: intent.get("digest", ""),
        keys.CHECKS: _checks(intent.get("checks", ())),
        keys.OVERRIDE: intent.get("override", "").strip(),
        keys.REQUEST: intent.get("request", ""),
        keys.LOCK: "",
    }


def _create(settings: Settings, tags: dict[str, str], result: dict[str, str]) -> Opened:
    """One call makes the run with all its tags, so that no record is ever half-written; then the chain goes on."""
    home, model, started = experiment(settings, keys.PROMOTIONS), tags[keys.MODEL_NAME], _now()
    tags = tags | {keys.PREVIOUS: newest(settings, model) or ""}
    tags |= {keys.SEAL: chain.of_intent(tags, started, settings.record_key)}
    if result:
        result = result | {keys.CLOSING: chain.of_result(result | tags, settings.record_key)}
    ref = f"{model}/{tags[keys.VERSION]}" if tags[keys.VERSION] else model
    says = title(ref, tags[keys.ACTION], tags[keys.FROM], tags[keys.TO])
    with errors(settings):
        run = client(settings).create_run(home, started, tags | result | {keys.NOTE: _note(says, tags)}, says[:_NAME])
    _set_head(settings, model, home, tags[keys.SEAL])
    return Opened(run.info.run_id, tags[keys.SEAL])


def newest(settings: Settings, model: str) -> str | None:
    """The seal of a model's latest record, "" where it has none; None where no such model is registered.

    model: "" for the records that are of no model, whose latest is named by a tag of their experiment.
    """
    store = client(settings)
    with contextlib.suppress(NotFound), errors(settings):
        if model:
            return str((store.get_registered_model(model).tags or {}).get(keys.RECORD, ""))
        home = store.get_experiment_by_name(keys.PROMOTIONS)
        return str(home.tags.get(keys.RECORD, "")) if home else None
    return None


def _set_head(settings: Settings, model: str, home: str, seal: str) -> None:
    for attempt in range(_TRIES):
        try:
            with contextlib.suppress(NotFound), errors(settings):
                if model:
                    client(settings).set_registered_model_tag(model, keys.RECORD, seal)
                else:
                    client(settings).set_experiment_tag(home, keys.RECORD, seal)
            return
        except Conflict:  # two machines make the tag at once, and the database refuses one of them
            if attempt == _TRIES - 1:
                raise
            time.sleep(0.02 * (attempt + 1))


@contextlib.contextmanager
def _alive(settings: Settings) -> Iterator[str]:
    """Holds a lock of this record's own, which falls with the process, however that ends: its name."""
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


def _note(says: str, tags: dict[str, str]) -> str:
    left = f"{tags[keys.REPLACED]} → {tags[keys.REPLACED_TO]}" if tags[keys.REPLACED] else ""
    parts = (says, left, f"by {tags[keys.USER]}", tags[keys.REASON], tags[keys.OVERRIDE])
    return " · ".join(part for part in parts if part)


def _now() -> int:
    return int(time.time() * 1000)
