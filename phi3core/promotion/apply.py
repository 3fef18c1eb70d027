"""Carrying a plan out so that whatever others do at the same moment, everything agrees in the end.

The alias is moved once. Then we read, and put right what does not agree, until a reading that began after our own
last change shows nothing to be done. So whoever made the very last change of all has seen the end, and found it in
order. Promoters on other machines share no lock with us: who moved the alias last has won, and each of the others
finds that out here, puts its own version's stage back to what it was, and says who won.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from phi3core.errors import Conflict
from phi3core.promotion.record.timeline import MOVES
from phi3core.promotion.record.writer import Opened
from phi3core.settings import Settings

from .aliases import HELD, State, move, pause, point, read_state, unpoint
from .finding import told_stage
from .plan import Plan
from .reconcile import about, at_work, is_alive, release, wrong_in
from .record import search, writer

_PATIENCE = 30.0  # seconds until a promotion gives up on agreement
_COURTESY = 5.0  # seconds in which whoever deletes the version may finish
_OWNERS = 3.0  # seconds in which another promoter may put the stage of its own version right

_Step = Callable[[], None]


@dataclass(frozen=True)
class _Move:
    """What a promotion is at. before: the version's own stage. leaving: who leaves the stage for it."""

    name: str
    number: int
    target: str
    before: str
    leaving: frozenset[int]
    becomes: str
    record: str

    def lost(self, state: State) -> bool:
        """Whether somebody else's move came after ours."""
        right = state.right(self.number)
        if self.target not in HELD:
            return bool(right)
        now = state.holder(self.target)
        return (now is not None and now != self.number) or right not in ("", self.target)

    def own(self, state: State) -> str:
        """The stage of the version itself where no alias says it."""
        if not self.lost(state):
            return self.target
        return "Archived" if self.before in HELD else self.before


def carry_out(settings: Settings, what: Plan, record: Opened) -> None:
    """Move aliases and stages as planned. Raises Conflict where somebody else has won."""
    version, left = what.version, frozenset(other.version for other in what.leaving)
    it = _Move(version.name, version.version, what.stage, version.stage, left, what.becomes, record.id)
    after_deletions(settings, it.name, it.number, it.record)
    began = time.monotonic()
    _move_aliases(settings, it)
    for attempt in itertools.count():
        seen = writer.now()
        state = read_state(settings, it.name)
        steps, waiting = _steps(settings, it, state, time.monotonic() - began)
        if not steps and not waiting:
            record.ended = seen  # what counts is when it was true: two machines may close in any order
            if it.lost(state):
                raise Conflict(_who_won(settings, it, state))
            return
        if time.monotonic() - began > _PATIENCE:
            wrong = " ".join(wrong_in(state)) or "It changes all the time."
            raise Conflict(f"Somebody else is promoting {it.name} at this moment: {wrong} Look, and try again.")
        if attempt:
            pause(attempt)
        for step in steps:
            step()


def after_deletions(settings: Settings, name: str, number: int, own: str) -> None:
    """Let whoever deletes the version finish, who may not have seen our record. Who begins now sees it, and gives way.

    MLflow deletes a version's aliases with it: nobody would be in Production. own: the id of our record.
    """
    ref, ends = f"{name}/{number}", time.monotonic() + _COURTESY
    for attempt in itertools.count():
        others = at_work(settings, name, ("delete",), own)
        deleting = next((record for record in others if record.version == number), None)
        if deleting is None:
            break
        if time.monotonic() > ends:
            raise Conflict(f"{deleting.user} is deleting {ref} at this moment. Look, and try again.")
        pause(attempt)
    if number not in read_state(settings, name).stages:
        raise Conflict(f"{ref} was deleted at the same moment. Choose another version.")


def _move_aliases(settings: Settings, it: _Move) -> None:
    """The version gets its stage's alias first, so that there is a holder at every moment; then it loses the other."""
    now = read_state(settings, it.name)
    if not now.able.aliases:
        _move_stages(settings, it, now)
        return
    if it.target in HELD and now.holder(it.target) != it.number:
        point(settings, it.name, it.target.lower(), it.number)
    for stage in HELD:
        if stage != it.target and now.holder(stage) == it.number:
            release(settings, it.name, it.number, stage)


def _move_stages(settings: Settings, it: _Move, now: State) -> None:
    """The same where stages stand in for aliases: our version comes first, then the others leave."""
    if now.stages.get(it.number) != it.target:
        move(settings, it.name, it.number, it.target)
    for number in sorted(it.leaving):
        if now.stages.get(number) == it.target:
            move(settings, it.name, number, it.becomes)


def _steps(settings: Settings, it: _Move, state: State, passed: float) -> tuple[list[_Step], bool]:
    """What to change, and whether others are waited for, to put right what is theirs."""
    steps: list[_Step] = []
    waiting = False
    if it.target in HELD and state.holder(it.target) is None:  # removed by somebody who did not mean our version
        steps.append(partial(point, settings, it.name, it.target.lower(), it.number))
    if state.right(it.number) == "Production" and state.holder("Staging") == it.number:
        steps.append(partial(unpoint, settings, it.name, "staging"))
    for number, stage in state.stages.items():
        wanted: str | None = state.right(number)
        if not wanted and number == it.number:
            wanted = it.own(state)
        elif not wanted and stage in HELD:
            wanted = _fate(settings, it, number, passed)
            waiting = waiting or wanted is None
        if wanted and stage != wanted:
            steps.append(partial(move, settings, it.name, number, wanted))
    return steps, waiting


def _fate(settings: Settings, it: _Move, number: int, passed: float) -> str | None:
    """What becomes of a version that has lost its alias; None while its own promoter may still see to it."""
    known = about(settings, it.name, number)
    own = [r for r in known if r.version == number and r.status == "open" and r.id != it.record and r.action in MOVES]
    if passed < _OWNERS and any(is_alive(settings, record) for record in own):
        return None
    return told_stage(known, it.name, number) or (it.becomes if number in it.leaving else "None")


def _who_won(settings: Settings, it: _Move, state: State) -> str:
    """A sentence about the version that is there instead, and who put it there."""
    right = state.right(it.number)
    number, stage = (it.number, right) if right else (state.holder(it.target), it.target)
    listed = search.page(settings, model=it.name, version=number, new=stage, limit=5).records
    winner = next((record for record in listed if record.id != it.record and record.action in MOVES), None)
    by = f" by {winner.user}" if winner else ""
    own = f"{it.name}/{it.number} is {state.stages.get(it.number, 'gone')}."
    return f"{it.name}/{number} was moved to {stage}{by} at the same moment, and came last. {own} Look, and try again."
