"""A look at a model: what was left half-done or changed from outside is found, told, recorded and repaired.

The aliases say what is right; the stages follow. A promotion that is under way is left alone, for it sees to
everything itself before it ends. A model that nobody ever promoted here, and that has no reserved alias, is left as
it is: its stages are somebody else's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from .. import registry
from ..errors import Conflict, NotFound
from ..people import Person
from ..registry import Version
from ..settings import Settings
from ..store import Abilities, changed
from . import chain, finding, records, writing
from .finding import Found, Known
from .record import Record
from .state import HELD, State, locked, move, read, unpoint, versions_of
from .timeline import MOVES

LOOKER = Person("phi3-playground", "none")
"""Who repairs: nobody in particular."""

_RECENT = 50  # records read at every look
_PATIENCE = timedelta(seconds=60)  # how long a promoter on another machine may be silent
_LONG_PATIENCE = timedelta(days=1)  # the same for what may take hours, such as a copy


@dataclass(frozen=True)
class Look:
    """What a look saw. versions: newest first, as they are now. said: what was found or repaired, as sentences.

    in_flight: the records of what is under way. wrong: stages that do not follow the aliases, and were left: somebody
    is at work, or nobody ever promoted here. damage: what was done to the records. records_state: as records.state.
    """

    versions: list[Version]
    said: list[str]
    in_flight: list[Record]
    wrong: list[str]
    damage: list[str]
    records_state: str


@dataclass(frozen=True)
class Settled:
    """What `settle` found and did, as sentences, or who is at work on another machine, so that it did nothing."""

    said: list[str]
    in_flight: list[Record]


def look(settings: Settings, name: str) -> Look:
    """Look at a model, and repair what is to be repaired. Raises NotFound, StoreDown."""
    state, known = _model(settings, name), _known(settings, name)
    there = "ok" if known.records else records.state(settings)
    said: list[str] = []
    if there != "deleted" and _calls_for_work(settings, state, known):
        with contextlib.suppress(_AtWork), _free(settings, name):
            said = settle(settings, name).said
        state, known = _model(settings, name), _known(settings, name)
    return Look(
        versions=versions_of(settings, state),
        said=said,
        in_flight=[record for record in known.records if record.status == "open"],
        wrong=wrong_in(state),
        damage=chain.damage(known.records, state.head, known.whole, settings.record_key) if there != "deleted" else [],
        records_state=there,
    )


def disagreements(settings: Settings, name: str) -> list[str]:
    """Sentences about a model's stages that do not follow the aliases; empty when all agree."""
    return wrong_in(_model(settings, name))


def disagreeing(versions: list[Version]) -> list[str]:
    """The same for all versions of a model that were read already."""
    stages = {version.version: version.stage for version in versions}
    aliases = {alias: version.version for version in versions for alias in version.aliases}
    return wrong_in(State(versions[0].name, aliases, stages, "", Abilities(), ())) if versions else []


def wrong_in(state: State) -> list[str]:
    """The same for a model that was read already."""
    return [one.says for one in finding.wrong(state)]


def settle(settings: Settings, name: str) -> Settled:
    """Repair a model, and say what was found and done. Whoever calls it holds the model's lock.

    Does nothing while a promoter of another machine is at work.
    """
    state, known = _model(settings, name), _known(settings, name)
    for record in known.records:
        if record.written:  # its writer died in between, or is just about to do this too
            writing.finish(settings, record)
    known = replace(known, records=tuple(_as_written(record) for record in known.records))
    if others := [record for record in known.records if _elsewhere(settings, record)]:
        return Settled([], others)
    dead = [record for record in known.records if _is_dead(settings, record)]
    if _finish_aliases(settings, state, dead):
        state = _model(settings, name)
    known = replace(known, records=tuple(_as_ended(state, record, dead) for record in known.records))
    said: list[str] = []
    for found in finding.from_outside(state, known, _by_stage(settings, name, known)):
        known = replace(known, records=(_append(settings, name, found), *known.records))
        said.append(found.says)
    for wrong, stage in finding.repairs(state, known):
        with records.opened(
            settings, LOOKER, model=name, version=wrong.number, action="repair", old=wrong.stage, new=stage,
            reason=wrong.says,
        ):  # fmt: skip
            move(settings, name, wrong.number, stage)
        said.append(f"{wrong.says} It was moved to {stage}.")
    said += [_close(settings, state, record) for record in dead]
    if said:
        changed(settings, name)
    return Settled(said, [])


def is_alive(settings: Settings, record: Record) -> bool:
    """Whether whoever opened a record may still be at work on it."""
    known = writing.alive(settings, record)
    if known is not None:
        return known
    patience = _PATIENCE if record.action in MOVES else _LONG_PATIENCE
    return writing.now() - record.started < patience


def about(settings: Settings, name: str, number: int) -> list[Record]:
    """The newest records that moved a version, or another one into its place; newest first."""
    own = records.page(settings, model=name, version=number, limit=20).records
    others = records.page(settings, model=name, replaced=f"{name}/{number}", limit=20).records
    return _sorted(own, others)


# ---------------------------------------------------------------- what is to be done


class _AtWork(Conflict):
    """A promoter of this machine has the lock."""


@contextlib.contextmanager
def _free(settings: Settings, name: str) -> Iterator[None]:
    """The model's lock, if it can be had at once. Raises _AtWork where it can't."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(settings, name, patience=0))
        except Conflict as error:
            raise _AtWork(str(error)) from error
        yield


def _calls_for_work(settings: Settings, state: State, known: Known) -> bool:
    return bool(
        any(record.status == "open" for record in known.records)
        or finding.from_outside(state, known, _by_stage(settings, state.name, known))
        or finding.repairs(state, known)
    )


def _elsewhere(settings: Settings, record: Record) -> bool:
    """Whether a promoter on another machine is at work. (On this one the lock says so.)"""
    moving = record.status == "open" and record.action in MOVES
    return moving and writing.alive(settings, record) is None and is_alive(settings, record)


def _is_dead(settings: Settings, record: Record) -> bool:
    """Whether nobody will ever close a record. Who closed it since it was read is not there any more either."""
    if record.status != "open" or is_alive(settings, record):
        return False
    return records.again(settings, record).status == "open"


def _append(settings: Settings, name: str, found: Found) -> Record:
    return records.append(
        settings, LOOKER, model=name, version=found.number, action=found.action, old=found.old, new=found.new,
        replaced=found.replaced, replaced_to=found.replaced_to, reason=found.says,
    )  # fmt: skip


def _finish_aliases(settings: Settings, state: State, dead: list[Record]) -> bool:
    """Remove the other alias of a version that was to lose it, and whose promoter died before. Whether one did."""
    late = [
        (record.model, other)
        for record in dead
        if record.new in HELD and finding.happened(state, record)
        for other in HELD
        if other != record.new and state.holder(other) == record.version
    ]
    for name, stage in late:
        unpoint(settings, name, stage.lower())
    return bool(late)


def _as_written(record: Record) -> Record:
    return replace(record, status=record.written, written="") if record.written else record


def _as_ended(state: State, record: Record, dead: list[Record]) -> Record:
    """A dead promoter's record as it will be closed."""
    if record not in dead:
        return record
    return replace(record, status="done" if finding.happened(state, record) else "interrupted", ended=writing.now())


def _close(settings: Settings, state: State, record: Record) -> str:
    status, outcome = "interrupted", "Whoever wanted it died before it happened."
    if finding.happened(state, record):
        status, outcome = "done", "Whoever did it died on the way; what was left to do was done by a later look."
    writing.close(settings, record, status, outcome)
    return f"{record.says} ({record.started:%Y-%m-%d %H:%M} UTC, by {record.user}) was interrupted. {outcome}"


# ---------------------------------------------------------------- reading


def _model(settings: Settings, name: str) -> State:
    try:
        return read(settings, name)
    except NotFound:
        registry.versions(settings, name)  # says it in our words
        raise


def _known(settings: Settings, name: str) -> Known:
    page = records.page(settings, model=name, limit=_RECENT)
    return Known(page.records, page.next is None)


def _by_stage(settings: Settings, name: str, known: Known) -> dict[str, list[Record]]:
    """For each stage the records that tell who was there last: they may be older than the newest few."""
    found = {}
    for stage in HELD:
        recent = [record for record in known.records if stage in (record.new, record.old)]
        if known.whole or any(record.status == "done" and record.action in MOVES for record in recent):
            found[stage] = recent
            continue
        came = records.page(settings, model=name, new=stage, status="done", limit=5).records
        left = records.page(settings, model=name, old=stage, status="done", limit=5).records
        found[stage] = _sorted(recent, came, left)
    return found


def _sorted(*several: Iterable[Record]) -> list[Record]:
    """Each record once, newest first."""
    unique = {record.id: record for some in several for record in some}
    return sorted(unique.values(), key=lambda record: record.started, reverse=True)
