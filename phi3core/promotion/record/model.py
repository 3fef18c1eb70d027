"""A record of one change of the registry, as plain data. Knows nothing of how it is written, sealed or searched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from phi3core.clean_text import one_line

SET_TAG: Final = "set tag"
DELETE_TAG: Final = "delete tag"
DESCRIBE: Final = "describe"
_LONGEST_VALUE = 1000  # characters


@dataclass(frozen=True)
class Record:
    """One change that was made, or is under way.

    action: promote, roll back, set alias, delete alias, request, approve, reject, withdraw, set policy, delete, copy,
    set tag, delete tag, describe, trust, distrust, review, evaluate, restore, repair (the reconciliation made it) or
    found (it was made outside of this app). old, new: a stage, ``@alias`` or ``tag=value`` (`tag_words`). replaced:
    the version that left the stage for this one, and replaced_to what that one became. checks: the policy's lines, each
    with name, met and says. override: the reason of an admin who overrode the policy. status: open, done, failed or
    interrupted. outcome: a sentence, empty while open. previous: the seal of the model's record before. intact: the
    seals match what the record says now.
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
    """Name of the lock that the writing process holds on its machine for as long as it lives."""
    written: str = ""
    """The status in its tags, where the writing process ended before it set the status of the MLflow run."""
    unproven: bool = False
    """It is sealed with a key that is not known here, so that `intact` can't be found out."""
    evidence: str = ""
    """Of a review or an evaluation: what it has shown of the version, as JSON (policy/evidence.py)."""

    @property
    def ref(self) -> str:
        return f"{self.model}/{self.version}" if self.version is not None else self.model

    @property
    def says(self) -> str:
        """A short title, which is the run's name too."""
        return title(self.ref, self.action, self.old, self.new)

    @property
    def doubt(self) -> str:
        """Why it may not be what this app wrote, in two words; "" where nothing speaks against it."""
        if self.unproven:
            return "key unknown"
        if self.intact:
            return ""
        return "edited" if self.seal or self.previous else "no seal"


def title(ref: str, action: str, old: str, new: str) -> str:
    """A record's title, such as ``phi3/2: promote, None → Production``."""
    if action in ("promote", "roll back", "repair", "found"):
        return f"{ref}: {action}, {old or 'nothing'} → {new or 'nothing'}"
    return f"{ref}: {action} {new or old}".strip()


def tag_words(key: str, value: str) -> str:
    """A version's tag as its record says it: ``team=search``; a long value is cut."""
    return f"{key}={one_line(value, _LONGEST_VALUE)}"
