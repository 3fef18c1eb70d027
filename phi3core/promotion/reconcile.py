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

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import Conflict, NotFound
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.timeline import MOVES, holder
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import Abilities, notify_change

from . import finding
from .aliases import HELD, State, locked, move, point, read_state, unpoint, versions_of
from .ending import ending
from .finding import Found, Known
from .record import seal, search, writer

LOOKER = Person("phi3-playground", "none")
"""Who repairs: nobody in particular."""

_ALIASING = ("set alias", "delete alias", "found", "repair")
_RECENT = 50  # records read at every look
_MANY = 1000  # open ones, at most
_PATIENCE = timedelta(seconds=60)  # how long whoever writes from another machine may be silent
_LONG_PATIENCE = timedelta(days=1)  # the same for a copy, which sends gigabytes and changes nothing here


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


def reconcile(settings: Settings, name: str) -> Look:
    """Look at a model, and repair what is to be repaired. Raises NotFound, StoreDown."""
    state, known = _model(settings, name), _known(settings, name)
    there = "ok" if known.records else search.state(settings)
    said: list[str] = []
    if there != "deleted" and _calls_for_work(settings, state, known):
        with contextlib.suppress(_AtWork), _free(settings, name):
            said = settle(settings, name).said
        state, known = _model(settings, name), _known(settings, name)
    return Look(
        versions=versions_of(settings, state),
        said=said,
        in_flight=list(known.open),
        wrong=wrong_in(state),
        damage=seal.damage(known.records, state.head, known.whole, settings.record_key) if there != "deleted" else [],
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

    Does nothing while somebody on another machine moves or deletes a version.
    """
    state, known = _calm(settings, name)
    for record in known.open:
        if record.written:  # its writer died in between, or is just about to do this too
            writer.finish(settings, record)
    known = _with(known, [replace(one, status=one.written, written="") for one in known.open if one.written])
    if others := [record for record in known.open if _elsewhere(settings, record)]:
        return Settled([], others)
    dead = [record for record in known.open if _is_dead(settings, record)]
    if _finish_aliases(settings, state, dead):
        state = _model(settings, name)
    endings = [(record, ending(settings, state, record)) for record in dead]
    known = _with(known, [replace(record, status=end.status, ended=writer.now()) for record, end in endings])
    said: list[str] = []
    for found in finding.from_outside(state, known, _by_place(settings, state, known)):
        known = replace(known, records=(_append(settings, name, found), *known.records))
        said.append(found.says)
    for wrong, stage in finding.repairs(state, known):
        both = state.holder(wrong.stage) == wrong.number
        with writer.opened(
            settings, LOOKER, model=name, version=wrong.number, action="repair", old=wrong.stage, new=stage,
            reason=wrong.says,
        ):  # fmt: skip
            if both:
                release(settings, name, wrong.number, wrong.stage)
            move(settings, name, wrong.number, stage)
        did = f"@{wrong.stage.lower()} was removed from it." if both else f"It was moved to {stage}."
        said.append(f"{wrong.says} {did}")
    for record, end in endings:
        writer.close(settings, record, end.status, end.outcome)
        when = f"{record.started:%Y-%m-%d %H:%M} UTC, by {record.user}"
        said.append(f"{record.says} ({when}) was interrupted. {end.outcome}")
    if said:
        notify_change(settings, name)
    return Settled(said, [])


def at_work(settings: Settings, name: str, actions: Iterable[str], own: str) -> list[Record]:
    """The records of those who are at one of these at this moment, but for one's own."""
    listed = search.page(settings, model=name, status="open", limit=_MANY).records
    others = [r for r in listed if r.action in actions and r.id != own and not r.written]
    return [record for record in others if is_alive(settings, record)]


def release(settings: Settings, name: str, number: int, stage: str) -> None:
    """Take a stage's alias from a version.

    One can't be removed from one version only: somebody who has just pointed it elsewhere gets it back.
    """
    unpoint(settings, name, stage.lower())
    told = holder(search.page(settings, model=name).records, stage)
    if told is not None and told != number:
        point(settings, name, stage.lower(), told)


def is_alive(settings: Settings, record: Record) -> bool:
    """Whether whoever opened a record may still be at work on it."""
    known = writer.alive(settings, record)
    if known is not None:
        return known
    patience = _LONG_PATIENCE if record.action == "copy" else _PATIENCE
    return writer.now() - record.started < patience


def about(settings: Settings, name: str, number: int) -> list[Record]:
    """The newest records that moved a version, or another one into its place; newest first."""
    own = search.page(settings, model=name, version=number, limit=20).records
    others = search.page(settings, model=name, replaced=f"{name}/{number}", limit=20).records
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
        known.open
        or finding.from_outside(state, known, _by_place(settings, state, known))
        or finding.repairs(state, known)
    )


def _elsewhere(settings: Settings, record: Record) -> bool:
    """Whether a process on another machine moves or deletes a version; on this one the lock says so."""
    moving = record.action in (*MOVES, "delete") and not record.written
    return moving and writer.alive(settings, record) is None and is_alive(settings, record)


def _is_dead(settings: Settings, record: Record) -> bool:
    """Whether nobody will ever close a record. Who closed it since it was read is not there any more either."""
    if is_alive(settings, record):
        return False
    return search.again(settings, record).status == "open"


def _append(settings: Settings, name: str, found: Found) -> Record:
    return writer.append(
        settings, LOOKER, model=name, version=found.number, action=found.action, old=found.old, new=found.new,
        replaced=found.replaced, replaced_to=found.replaced_to, reason=found.says,
    )  # fmt: skip


def _finish_aliases(settings: Settings, state: State, dead: list[Record]) -> bool:
    """Remove the other alias of a version that was to lose it, and whose promoter died before. Whether one did."""
    late = [
        (record.model, record.version, other)
        for record in dead
        if record.version is not None and record.new in HELD and finding.happened(state, record)
        for other in HELD
        if other != record.new and state.holder(other) == record.version
    ]
    for name, number, stage in late:
        release(settings, name, number, stage)
    return bool(late)


def _with(known: Known, ended: list[Record]) -> Known:
    """What is known, with some that are open no more. They may be older than the newest few."""
    ids = {record.id for record in ended}
    return replace(
        known,
        records=tuple(_sorted(ended, known.records)),
        open=tuple(record for record in known.open if record.id not in ids),
    )


# ---------------------------------------------------------------- reading


def _model(settings: Settings, name: str) -> State:
    try:
        return read_state(settings, name)
    except NotFound:
        reader.list_versions(settings, name)  # says it in our words
        raise


def _calm(settings: Settings, name: str) -> tuple[State, Known]:
    """A model as it is while nobody begins or ends: half of what somebody did who has ended since looks like damage."""
    known = _known(settings, name)
    while True:
        state, before, known = _model(settings, name), known, _known(settings, name)
        if known == before or any(_elsewhere(settings, record) for record in known.open):
            return state, known


def _known(settings: Settings, name: str) -> Known:
    page = search.page(settings, model=name, limit=_RECENT)
    if not page.records and search.moved(settings):
        page = search.page(settings, model=name, limit=_RECENT)
    # A few records are read at every look; one that is left open may be behind them.
    older = search.page(settings, model=name, status="open", limit=_MANY).records if page.next else ()
    still = _sorted((record for record in page.records if record.status == "open"), older)
    return Known(page.records, page.next is None, tuple(still))


def _by_place(settings: Settings, state: State, known: Known) -> dict[str, list[Record]]:
    """For each stage, and each alias that is there or was, the records that tell who was there last.

    They may be older than the newest few.
    """
    named = {f"@{alias}" for alias in state.aliases if alias not in tags.RESERVED_ALIASES}
    named |= {place for record in known.records for place in (record.new, record.old) if place.startswith("@")}
    found = {}
    for place in (*HELD, *sorted(named)):
        acts = _ALIASING if place.startswith("@") else MOVES
        recent = [record for record in known.records if place in (record.new, record.old)]
        if known.whole or any(record.status == "done" and record.action in acts for record in recent):
            found[place] = recent
            continue
        came = search.page(settings, model=state.name, new=place, status="done", limit=5).records
        left = search.page(settings, model=state.name, old=place, status="done", limit=5).records
        found[place] = _sorted(recent, came, left)
    return found


def _sorted(*several: Iterable[Record]) -> list[Record]:
    """Each record once, newest first; as it is where it is named first."""
    unique = {record.id: record for some in reversed(several) for record in some}
    return sorted(unique.values(), key=lambda record: record.started, reverse=True)
