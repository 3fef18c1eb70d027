"""The record of everything that was done to the registry: who, what, when, why, and what came of it.

A record is a run in the experiment ``phi3-promotions`` (record.py; written by writing.py). Here it is searched,
verified and exported.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, NotFound
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.timestamps import to_ms

from . import seal
from .model import Record, of_run
from .writer import append, newest

if TYPE_CHECKING:
    from mlflow.entities import Experiment

_homes: dict[str, str] = {}  # the experiment's id, by store: it changes only where the old one was deleted for good


@dataclass(frozen=True)
class Page:
    """Some records, newest first. next: the token of the next page, None on the last one."""

    records: tuple[Record, ...]
    next: str | None


def page(
    settings: Settings,
    *,
    model: str = "",
    version: int | None = None,
    action: str = "",
    user: str = "",
    status: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    text: str = "",
    old: str = "",
    new: str = "",
    replaced: str = "",
    request: str = "",
    limit: int = 50,
    token: str | None = None,
) -> Page:
    """Some records, newest first: those that match all that is given. text: anywhere in what a record says.

    request: the id of the one it belongs to, ``*`` for any. since, until: when it was opened. token: `Page.next` of
    the page before, asked with the same filters.
    """
    from mlflow.entities import ViewType

    home = _home(settings)
    if home is None:
        return Page((), None)
    asked = {
        tags.MODEL_NAME: model,
        tags.VERSION: "" if version is None else str(version),
        tags.ACTION: action,
        tags.USER: user,
        tags.FROM: old,
        tags.TO: new,
        tags.REPLACED: replaced,
        tags.REQUEST: "" if request == "*" else request,
    }
    filters = [f'tags."{name}" = {quoted(value)}' for name, value in asked.items() if value]
    if request == "*":
        filters.append(f"tags.\"{tags.REQUEST}\" != ''")
    if status:
        filters.append(f"attributes.status = '{seal.STATUSES.get(status, 'RUNNING')}'")
    if since:
        filters.append(f"attributes.start_time >= {to_ms(since)}")
    if until:
        filters.append(f"attributes.start_time <= {to_ms(until)}")
    if text.strip():
        filters.append(f'tags."{tags.NOTE}" ILIKE {quoted(f"%{text.strip()}%")}')
    with translate_errors(settings):
        runs = mlflow_client(settings).search_runs(
            [home], " AND ".join(filters), ViewType.ACTIVE_ONLY, limit, ["attributes.start_time DESC"], token
        )
    return Page(tuple(of_run(run, settings.record_key) for run in runs), runs.token or None)


def get(settings: Settings, id: str) -> Record:
    """One record. Raises NotFound."""
    with translate_errors(settings):
        run = mlflow_client(settings).get_run(id)
    if str(run.info.experiment_id) != _home(settings):
        raise NotFound(f"There is no record {id}.")
    return of_run(run, settings.record_key)


def again(settings: Settings, record: Record) -> Record:
    """A record as it is now."""
    with translate_errors(settings):
        return of_run(mlflow_client(settings).get_run(record.id), settings.record_key)


def of_model(settings: Settings, model: str) -> list[Record]:
    """All records of a model, newest first."""
    return list(every(settings, model=model))


def every(settings: Settings, **which: Any) -> Iterator[Record]:
    """All records that match, newest first. which: as `page` takes them."""
    token = None
    while True:
        some = page(settings, **which, limit=1000, token=token)
        yield from some.records
        if not (token := some.next):
            return


def verify(settings: Settings, model: str) -> list[str]:
    """Sentences about records of a model that were edited, deleted or are not in the chain; [] when all is well.

    model: "" for those that are of no model: that the records were restored.
    """
    # The head first: what is written meanwhile is in the list, and the head is not yet missing.
    head = newest(settings, model)
    if model:
        listed = of_model(settings, model)
    else:
        listed = [record for record in page(settings, action="restore", limit=1000).records if not record.model]
        head = head or ("" if any(record.previous for record in listed) else None)  # they were in no chain once
    return seal.damage(listed, head, whole=True, key=settings.record_key)


def export(records: Sequence[Record], form: str) -> str:
    """The records as ``csv`` (a header and a line each) or ``json`` (a list of objects); dates in ISO 8601, UTC."""
    rows = [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(record).items()}
        for record in records
    ]
    if form == "json":
        return json.dumps(rows, ensure_ascii=False, indent=2)
    if form != "csv":
        raise BadInput(f"“{form}” is no form to export to. Write csv or json.")
    out = io.StringIO()
    lines = csv.DictWriter(out, [field.name for field in fields(Record)], lineterminator="\n")
    lines.writeheader()
    lines.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def state(settings: Settings) -> Literal["ok", "none yet", "deleted"]:
    """Whether the experiment that holds the records is there."""
    found = _found(settings)
    if found is None:
        return "none yet"
    return "deleted" if found.lifecycle_stage == "deleted" else "ok"


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


def moved(settings: Settings) -> bool:
    """Whether the experiment that we knew was deleted for good. To be asked where nothing is found."""
    known = _homes.get(settings.tracking_uri)
    _found(settings)
    return _homes.get(settings.tracking_uri) != known


def _home(settings: Settings) -> str | None:
    """The id of the experiment, None where there is none yet."""
    if settings.tracking_uri not in _homes:
        _found(settings)
    return _homes.get(settings.tracking_uri)


def _found(settings: Settings) -> Experiment | None:
    """The experiment as it is now."""
    with translate_errors(settings):
        found = mlflow_client(settings).get_experiment_by_name(tags.PROMOTIONS)
    if found:
        _homes[settings.tracking_uri] = str(found.experiment_id)
    else:
        _homes.pop(settings.tracking_uri, None)
    return found


def quoted(value: str) -> str:
    """MLflow's filters know no escape: in a text with both kinds of quotes the double ones can't be asked for."""
    return f'"{value.replace(chr(34), "")}"' if "'" in value else f"'{value}'"


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return json.dumps(value, ensure_ascii=False) if value else ""
    # A cell that begins like a formula would be run by a spreadsheet.
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
