"""What a request for a promotion is now: it follows from its records and from the files, and is never rewritten.

An approval is of the files as they were at that moment: where they change, the request is void.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from phi3core.errors import NotFound, Phi3Error, StoreDown
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.trust import Trust
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.text import join_words

from .policy import Policy

Verdict = Literal["approve", "reject"]
Status = Literal["open", "approved", "rejected", "withdrawn", "promoted", "void"]

FILES = "files"
"""The name of the line in a record's checks that says how the files were compared."""

VERDICTS = ("approve", "reject")
"""The actions of records that follow on a request and do not end it."""


@dataclass(frozen=True)
class Decision:
    """A decision on a request. valid: it is the person's latest, and the files are still as they were then."""

    by: str
    verdict: Verdict
    comment: str
    when: datetime
    digest: str
    valid: bool


@dataclass(frozen=True)
class Request:
    """A request to move a version to a stage. digest: of the files when it was made. decisions: oldest first.

    why: what made it void or ended it, as a sentence. compared: how the files were compared this time.
    """

    id: str
    model: str
    version: int
    stage: str
    by: str
    reason: str
    when: datetime
    digest: str
    status: Status
    decisions: tuple[Decision, ...]
    why: str = ""
    compared: str = ""

    @property
    def ref(self) -> str:
        return f"{self.model}/{self.version}"

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a decision or for the promotion."""
        return self.status in ("open", "approved")

    @property
    def is_decidable(self) -> bool:
        """Whether a decision can still change it: a rejection can be taken back."""
        return self.is_waiting or self.status == "rejected"

    @property
    def approvals(self) -> tuple[Decision, ...]:
        """Those that count now."""
        return tuple(decision for decision in self.decisions if decision.valid and decision.verdict == "approve")

    @property
    def rejections(self) -> tuple[Decision, ...]:
        """Those that count now."""
        return tuple(decision for decision in self.decisions if decision.valid and decision.verdict == "reject")

    @property
    def summary(self) -> str:
        """Who asked why, and whose approvals count, in a sentence or two."""
        asked = f"{self.by} asked for it: {self.reason}"
        approvers = [f"{d.by}, who asked for it" if same_person(d.by, self.by) else d.by for d in self.approvals]
        return f"{asked} Approved by {join_words(approvers)}." if approvers else asked


def same_person(one: str, other: str) -> bool:
    """Whether two names are the same person's: addresses in any case are."""
    return one.strip().casefold() == other.strip().casefold()


# ---------------------------------------------------------------- files


class MissingFiles(str):
    """Why a version has no files any more, as a sentence."""


class FileStates:
    """The files of versions as they are now, each looked up once.

    Args:
        quick: only where that takes no call of the store.
        states: those that were read already, or sentences on why there is none, by the version's ref.
        version: one that was read already.
    """

    def __init__(
        self,
        settings: Settings,
        quick: bool = False,
        states: Mapping[str, artifacts.ArtifactState | str] | None = None,
        version: Version | None = None,
    ) -> None:
        self._settings, self._quick, self._version = settings, quick, version
        self._states = dict(states or {})

    def of(self, record: Record) -> artifacts.ArtifactState | str:
        """The state of the files of a record's version, or a sentence on why there is none."""
        if record.ref not in self._states:
            self._states[record.ref] = self._read(record)
        return self._states[record.ref]

    def _read(self, record: Record) -> artifacts.ArtifactState | str:
        try:
            if not self._quick:
                return artifacts.read_state(self._settings, self._resolve(record.ref))
            place = str(_files_line(record).get("place", ""))
            state = artifacts.read_local_state(self._settings, place, record.ref) if place else None
            return state or "The files are not on this machine and were not looked at for this list."
        except StoreDown:
            raise
        except NotFound as error:
            return MissingFiles(error)
        except Phi3Error as error:
            return str(error)

    def _resolve(self, ref: str) -> Version:
        if self._version and self._version.ref == ref:
            return self._version
        return reader.get_version(self._settings, ref)


def files_line(state: artifacts.ArtifactState) -> dict[str, Any]:
    """The line of a record's checks that keeps how the files were."""
    return {"name": FILES, "met": True, "says": state.summary, "listing": state.listing, "place": state.uri}


def _files_line(record: Record) -> dict[str, Any]:
    return next((line for line in record.checks if line.get("name") == FILES), {})


def _files_unchanged(record: Record, state: artifacts.ArtifactState | None) -> bool:
    """Whether the files are as the record says they were; where they could not be read, they may be."""
    if state is None:
        return True
    if state.digest:
        return state.digest == record.digest
    return bool(state.listing == _files_line(record).get("listing", state.listing))


def changed_sentence(ref: str) -> str:
    """Why a request is void whose files have changed."""
    return f"The files of {ref} are not those that were asked for: they were changed. Ask again for what they are now."


# ---------------------------------------------------------------- records


def counts(step: Record, request: Record, trust: Trust) -> bool:
    """Whether a record is a step of a request's: done, neither edited nor made up, and about the same thing."""
    same = (step.model, step.version, step.new) == (request.model, request.version, request.new)
    return same and "done" in (step.status, step.written) and trust.counts(step)


def steps_of(request: Record, following: Iterable[Record], trust: Trust) -> list[Record]:
    """The records among those that follow on a request that count as its steps, oldest first."""
    return sorted((r for r in following if counts(r, request, trust)), key=lambda r: (r.started, r.id))


def is_rejected(request: Record, steps: Iterable[Record]) -> bool:
    """Whether a request is rejected or void, however the files are."""
    return any(r.action == "reject" and r.digest == request.digest for r in _latest_decisions(steps).values())


def evaluate(record: Record, steps: list[Record], files: FileStates, policies: Mapping[str, Policy]) -> Request:
    """The request that its record, its steps, the files and the model's policies by stage make."""
    assert record.version is not None
    ended = next((r for r in steps if r.action not in VERDICTS), None)
    files_now = files.of(record) if ended is None else ""
    state = files_now if isinstance(files_now, artifacts.ArtifactState) else None
    decisions = _decisions(record, steps, state)
    if ended is not None:
        status, why = _ended(ended)
    elif isinstance(files_now, MissingFiles):
        status, why = "void", str(files_now)
    elif not _files_unchanged(record, state):
        status, why = "void", changed_sentence(record.ref)
    else:
        status, why = _decided(decisions, policies.get(record.new, Policy()).approvals), ""
    return Request(
        record.id, record.model, record.version, record.new, record.user, record.reason, record.started, record.digest,
        status, decisions, why, compared=state.summary if state else str(files_now),
    )  # fmt: skip


def _latest_decisions(steps: Iterable[Record]) -> dict[str, Record]:
    """The latest decision of each person."""
    return {step.user.strip().casefold(): step for step in steps if step.action in VERDICTS}


def _decisions(request: Record, steps: list[Record], state: artifacts.ArtifactState | None) -> tuple[Decision, ...]:
    latest = {r.id for r in _latest_decisions(steps).values()}
    return tuple(
        Decision(
            r.user, "approve" if r.action == "approve" else "reject", r.reason, r.started, r.digest,
            valid=r.id in latest and r.digest == request.digest and _files_unchanged(request, state),
        )
        for r in steps
        if r.action in VERDICTS
    )  # fmt: skip


def _ended(step: Record) -> tuple[Status, str]:
    said = f": {step.reason}" if step.reason else "."
    why = f"{step.user} did so on {step.started:%Y-%m-%d %H:%M} UTC{said}"
    return "withdrawn" if step.action == "withdraw" else "promoted", why


def _decided(decisions: Iterable[Decision], needed: int) -> Status:
    valid = [decision for decision in decisions if decision.valid]
    if any(decision.verdict == "reject" for decision in valid):
        return "rejected"
    return "approved" if len(valid) >= max(1, needed) else "open"
