"""Reading the records: in pages, by their parts, verified against their seals, and exported.

A record is a run in the experiment ``phi3-promotions`` (model.py, written by writer.py).
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from phi3core import tags
from phi3core.errors import BadInput, NotFound
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.text import spreadsheet_cell
from phi3core.timestamps import from_ms

from . import seal
from .model import Record
from .timeline import MOVES

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

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
    """The records that match all that is given, newest first.

    Args:
        text: anywhere in what a record says.
        request: the id of the request that the record belongs to, ``*`` for any.
        since: opened at this time or later.
        until: opened at this time or before.
        limit: at most so many.
        token: `Page.next` of the page before, asked with the same filters.
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
        filters.append(f"attributes.start_time >= {int(since.timestamp() * 1000)}")
    if until:
        filters.append(f"attributes.start_time <= {int(until.timestamp() * 1000)}")
    if text.strip():
        filters.append(f'tags."{tags.NOTE}" ILIKE {quoted(f"%{text.strip()}%")}')
    with translate_errors(settings):
        runs = mlflow_client(settings).search_runs(
            [home], " AND ".join(filters), ViewType.ACTIVE_ONLY, limit, ["attributes.start_time DESC"], token
        )
    return Page(tuple(of_run(run, settings.record_key) for run in runs), runs.token or None)


def get(settings: Settings, record_id: str) -> Record:
    """One record. Raises NotFound."""
    with translate_errors(settings):
        run = mlflow_client(settings).get_run(record_id)
    if str(run.info.experiment_id) != _home(settings):
        raise NotFound(f"There is no record {record_id}.")
    return of_run(run, settings.record_key)


def reread(settings: Settings, record: Record) -> Record:
    """A record as it is now."""
    with translate_errors(settings):
        return of_run(mlflow_client(settings).get_run(record.id), settings.record_key)


def last_arrival(
    settings: Settings, model: str, version: int, stage: str, newest: Sequence[Record] = ()
) -> Record | None:
    """The record of the move that brought a version into a stage the last time; None where none tells it.

    newest: records that have been read already; the store is asked only where it is not among them.
    """

    def found(records: Sequence[Record]) -> Record | None:
        there = (r for r in records if (r.model, r.version, r.new, r.status) == (model, version, stage, "done"))
        return next((record for record in there if record.action in MOVES), None)

    asked = {"model": model, "version": version, "new": stage, "status": "done"}
    return found(newest) or found(page(settings, **asked).records)  # type: ignore[arg-type]


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


def newest_seal(settings: Settings, model: str) -> str | None:
    """The seal of a model's latest record, "" where it has none; None where no such model is registered.

    model: "" for the records that are of no model, whose latest is named by a tag of their experiment.
    """
    store = mlflow_client(settings)
    with contextlib.suppress(NotFound), translate_errors(settings):
        if model:
            return str((store.get_registered_model(model).tags or {}).get(tags.RECORD, ""))
        home = store.get_experiment_by_name(tags.PROMOTIONS)
        return str(home.tags.get(tags.RECORD, "")) if home else None
    return None


def verify(settings: Settings, model: str) -> list[str]:
    """Sentences about records of a model that were edited, deleted or are not in the chain; [] when all is well.

    model: "" for those that are of no model: that the records were restored.
    """
    # The head first: what is written meanwhile is in the list, and the head is not yet missing.
    head = newest_seal(settings, model)
    if model:
        listed = of_model(settings, model)
    else:
        listed = [record for record in page(settings, action="restore", limit=1000).records if not record.model]
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
    found = _experiment(settings)
    if found is None:
        return "none yet"
    return "deleted" if found.lifecycle_stage == "deleted" else "ok"


def experiment_replaced(settings: Settings) -> bool:
    """Whether the experiment was deleted for good since its id was read. Ask this where no record is found."""
    before = _homes.get(settings.tracking_uri)
    _experiment(settings)
    return _homes.get(settings.tracking_uri) != before


def _home(settings: Settings) -> str | None:
    """The id of the experiment, None where there is none yet."""
    if settings.tracking_uri not in _homes:
        _experiment(settings)
    return _homes.get(settings.tracking_uri)


def _experiment(settings: Settings) -> Experiment | None:
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


def of_run(run: Run, key: str) -> Record:
    """The record that an MLflow run holds. key: of the seals, "" for none."""
    tag_values, status = run.data.tags, run.info.status
    ended = tag_values.get(tags.ENDED) or (str(run.info.end_time) if run.info.end_time else "")
    number = tag_values.get(tags.VERSION, "")
    is_open = status not in seal.STATUSES.values()
    ours = {theirs: own for own, theirs in seal.STATUSES.items()}
    return Record(
        id=run.info.run_id,
        model=tag_values.get(tags.MODEL_NAME, ""),
        version=int(number) if number.isdecimal() else None,
        action=tag_values.get(tags.ACTION, ""),
        old=tag_values.get(tags.FROM, ""),
        new=tag_values.get(tags.TO, ""),
        replaced=tag_values.get(tags.REPLACED, ""),
        replaced_to=tag_values.get(tags.REPLACED_TO, ""),
        reason=tag_values.get(tags.REASON, ""),
        user=tag_values.get(tags.USER, ""),
        role=tag_values.get(tags.ROLE, ""),
        host=tag_values.get(tags.HOST, ""),
        digest=tag_values.get(tags.DIGEST, ""),
        checks=_checks(tag_values.get(tags.CHECKS, "")),
        override=tag_values.get(tags.OVERRIDE, ""),
        request=tag_values.get(tags.REQUEST, ""),
        started=from_ms(run.info.start_time),
        ended=from_ms(int(ended)) if ended.isdecimal() else None,
        status="open" if is_open else ours[status],
        outcome=tag_values.get(tags.OUTCOME, ""),
        previous=tag_values.get(tags.PREVIOUS, ""),
        seal=tag_values.get(tags.SEAL, ""),
        intact=seal.intact(tag_values, run.info.start_time, status, key),
        lock=tag_values.get(tags.LOCK, ""),
        written=tag_values.get(tags.STATUS, "") if is_open else "",
        evidence=tag_values.get(tags.EVIDENCE, ""),
        unproven=not key and seal.keyed(tag_values.get(tags.SEAL, "")),
    )


def _checks(text: str) -> tuple[dict[str, Any], ...]:
    """The policy's lines; () where the tag was edited and holds no list of objects."""
    with contextlib.suppress(json.JSONDecodeError):
        listed = json.loads(text or "[]")
        if isinstance(listed, list):
            return tuple(check for check in listed if isinstance(check, dict))
    return ()


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return spreadsheet_cell(value)
