"""What a record is, and how it is read out of an MLflow run. Knows nothing of how it is written or searched."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.timestamps import from_ms

from . import seal

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class Record:
    """One thing that was done, or is being done.

    action: promote, roll back, set alias, delete alias, request, approve, reject, withdraw, set policy, delete, copy,
    restore, repair (a look repaired it) or found (it was changed from outside). old, new: a stage or ``@alias``.
    replaced: the version that left the stage for it, and replaced_to what that one became. checks: the policy's lines,
    each with name, met and says. override: why an admin went on all the same. status: open, done, failed or
    interrupted. outcome: a sentence, empty while open. intact: it is what was written.
    """

    id: str
    model: str
    version: int | None
    action: str
    old: str
    new: str
    replaced: str
    replaced_to: str
    reason: str
    user: str
    role: str
    host: str
    digest: str
    checks: tuple[dict[str, Any], ...]
    override: str
    request: str
    started: datetime
    ended: datetime | None
    status: str
    outcome: str
    previous: str
    seal: str
    intact: bool
    lock: str = ""
    """What whoever writes it holds locked on its machine for as long as it lives."""
    written: str = ""
    """What it was to be closed as, where its writer died before MLflow knew."""
    unproven: bool = False
    """It is sealed with a key that is not known here, so that nobody can say whether it is intact."""

    @property
    def ref(self) -> str:
        return f"{self.model}/{self.version}" if self.version is not None else self.model

    @property
    def says(self) -> str:
        """It as a short title, which is its run's name too."""
        return title(self.ref, self.action, self.old, self.new)

    @property
    def doubt(self) -> str:
        """Why it may not be what was written, in two words; "" where nothing speaks against it."""
        if self.unproven:
            return "key unknown"
        if not self.intact:
            return "edited"
        return "" if self.seal else "no seal"


def title(ref: str, action: str, old: str, new: str) -> str:
    if action in ("promote", "roll back", "repair", "found"):
        return f"{ref}: {action}, {old or 'nothing'} → {new or 'nothing'}"
    return f"{ref}: {action} {new or old}".strip()


def of_run(run: Run, key: str) -> Record:
    """key: what seals the records, "" for none."""
    tag_values, status = run.data.tags, run.info.status
    ended = tag_values.get(tags.ENDED) or (str(run.info.end_time) if run.info.end_time else "")
    number, action = tag_values.get(tags.VERSION, ""), tag_values.get(tags.ACTION, "")
    is_open = status not in seal.STATUSES.values()
    ours = {theirs: own for own, theirs in seal.STATUSES.items()}
    return Record(
        id=run.info.run_id,
        model=tag_values.get(tags.MODEL_NAME, ""),
        version=int(number) if number.isdecimal() else None,
        action="promote" if action == "stage" else action,  # what it was called before there were seals
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
        outcome=tag_values.get(tags.OUTCOME, "") or tag_values.get("phi3.error", ""),
        previous=tag_values.get(tags.PREVIOUS, ""),
        seal=tag_values.get(tags.SEAL, ""),
        intact=seal.intact(tag_values, run.info.start_time, status, key),
        lock=tag_values.get(tags.LOCK, ""),
        written=tag_values.get(tags.STATUS, "") if is_open else "",
        unproven=not key and seal.keyed(tag_values.get(tags.SEAL, "")),
    )


def _checks(text: str) -> tuple[dict[str, Any], ...]:
    """Somebody may have edited them: what is no list of objects is none."""
    with contextlib.suppress(json.JSONDecodeError):
        listed = json.loads(text or "[]")
        if isinstance(listed, list):
            return tuple(check for check in listed if isinstance(check, dict))
    return ()
