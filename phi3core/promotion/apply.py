"""Applying a plan so that everything agrees in the end, whatever other promotions do at the same moment.

The alias is moved once. Then the model is read, and what does not agree is put right, until a reading that began after
this promotion's own last change shows nothing to be done. So the process that makes the very last change of all has
seen the end, and found it in order. Promotions on other machines share no lock with this one: the one that moves the
alias last wins, and each of the others finds that out here, puts its own version's stage back to what it was, and
names the winner.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from phi3core.errors import Conflict
from phi3core.promotion.record.history import History, matching, newest_first, reread
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.timeline import MOVES
from phi3core.promotion.record.writer import OpenRecord
from phi3core.settings import Settings

from .aliases import EXCLUSIVE_STAGES, ModelStages, assign, pause, read_state, remove, transition
from .findings import mismatches_of
from .plan import Plan
from .reconcile import take_alias
from .record import search, writer
from .recorded import recorded_stage

_PATIENCE = 30.0  # seconds until a promotion gives up on agreement
_DELETION_PATIENCE = 5.0  # seconds in which a deletion of the version may end
_OWNER_PATIENCE = 3.0  # seconds in which another promotion may put the stage of its own version right

_Step = Callable[[], None]


@dataclass(frozen=True)
class _Move:
    """A promotion that is being applied.

    before: the version's own stage until now. leaving: the versions that leave the stage for it, and becomes their
    stage from then on. record: the id of its record. history: of the model, before the record was opened.
    """

    name: str
    number: int
    target: str
    before: str
    leaving: frozenset[int]
    becomes: str
    record: str
    history: History

    def lost(self, state: ModelStages) -> bool:
        """Whether another promotion came after this one."""
        expected = state.stage_by_alias(self.number)
        if self.target not in EXCLUSIVE_STAGES:
            return bool(expected)
        holder = state.holder(self.target)
        return (holder is not None and holder != self.number) or expected not in ("", self.target)

    def own_stage(self, state: ModelStages) -> str:
        """The stage of the version itself where no alias demands one."""
        if not self.lost(state):
            return self.target
        return "Archived" if self.before in EXCLUSIVE_STAGES else self.before


def apply_plan(settings: Settings, plan: Plan, record: OpenRecord, history: History) -> ModelStages:
    """Move aliases and stages as planned. Returns the model as it was when everything agreed.

    Args:
        record: of the promotion; its `ended` is set.
        history: of the model, read before the record was opened.

    Raises:
        Conflict: another promotion has won, or the version is being deleted.
    """
    version, leaving = plan.version, frozenset(other.version for other in plan.leaving)
    move = _Move(
        version.name, version.version, plan.stage, version.mlflow_stage, leaving, plan.becomes, record.id, history
    )  # fmt: skip
    state = wait_for_deletions(settings, move.name, move.number, move.record)
    began = time.monotonic()
    _move_aliases(settings, move, state)
    return _settle(settings, move, record, began)


def wait_for_deletions(settings: Settings, name: str, number: int, own: str) -> ModelStages:
    """Wait while another process deletes the version, which may not have seen our record. Returns the model after it.

    A deletion that begins now sees our record, and is refused. MLflow deletes a version's aliases with it: no version
    would be in Production. own: the id of our record. Raises Conflict where the version is deleted.
    """
    ref, ends = f"{name}/{number}", time.monotonic() + _DELETION_PATIENCE
    for attempt in itertools.count():
        others = writer.at_work(settings, name, ("delete",), own)
        deleting = next((record for record in others if record.version == number), None)
        if deleting is None:
            break
        if time.monotonic() > ends:
            raise Conflict(f"{deleting.user} is deleting {ref} at this moment. Look, and try again.")
        pause(attempt)
    state = read_state(settings, name)
    if number not in state.stages:
        raise Conflict(f"{ref} was deleted at the same moment. Choose another version.")
    return state


def _move_aliases(settings: Settings, move: _Move, state: ModelStages) -> None:
    """The version gets its stage's alias first, so that there is a holder at every moment; then it loses the other."""
    if not state.able.aliases:
        _move_stages(settings, move, state)
        return
    if move.target in EXCLUSIVE_STAGES and state.holder(move.target) != move.number:
        assign(settings, move.name, move.target.lower(), move.number)
    for stage in EXCLUSIVE_STAGES:
        if stage != move.target and state.holder(stage) == move.number:
            take_alias(settings, move.name, move.number, stage)


def _move_stages(settings: Settings, move: _Move, state: ModelStages) -> None:
    """The same where stages stand in for aliases: our version comes first, then the others leave."""
    if state.stages.get(move.number) != move.target:
        transition(settings, move.name, move.number, move.target)
    for number in sorted(move.leaving):
        if state.stages.get(number) == move.target:
            transition(settings, move.name, number, move.becomes)


def _settle(settings: Settings, move: _Move, record: OpenRecord, began: float) -> ModelStages:
    """Read and put right until a reading shows nothing to be done. Raises Conflict where the promotion has lost."""
    for attempt in itertools.count():
        read_at = writer.now()
        state = read_state(settings, move.name)
        steps, waiting = _steps(settings, move, state, time.monotonic() - began)
        if not steps and not waiting:
            record.ended = read_at  # what counts is when it was true: two machines may close in any order
            if move.lost(state):
                raise Conflict(_winner(settings, move, state))
            return state
        if time.monotonic() - began > _PATIENCE:
            wrong = " ".join(mismatches_of(state)) or "It changes all the time."
            raise Conflict(f"Somebody else is promoting {move.name} at this moment: {wrong} Look, and try again.")
        if attempt:
            pause(attempt)
        for step in steps:
            step()
    raise AssertionError("unreachable")


def _steps(settings: Settings, move: _Move, state: ModelStages, elapsed: float) -> tuple[list[_Step], bool]:
    """What to change, and whether other promotions are waited for, that put their own versions right."""
    steps: list[_Step] = []
    waiting = False
    history = cache(lambda: reread(settings, move.history))
    if move.target in EXCLUSIVE_STAGES and state.holder(move.target) is None:  # removed, but not from our version
        steps.append(partial(assign, settings, move.name, move.target.lower(), move.number))
    if state.stage_by_alias(move.number) == "Production" and state.holder("Staging") == move.number:
        steps.append(partial(remove, settings, move.name, "staging"))
    for number, stage in state.stages.items():
        wanted: str | None = state.stage_by_alias(number)
        if not wanted and number == move.number:
            wanted = move.own_stage(state)
        elif not wanted and stage in EXCLUSIVE_STAGES:
            wanted = _stage_after(settings, move, number, elapsed, _records_about(settings, move, history(), number))
            waiting = waiting or wanted is None
        if wanted and stage != wanted:
            steps.append(partial(transition, settings, move.name, number, wanted))
    return steps, waiting


def _records_about(settings: Settings, move: _Move, history: History, number: int) -> list[Record]:
    """The newest records that moved a version, or another one into its place; newest first."""
    own = matching(settings, history, version=number, limit=20)
    others = matching(settings, history, replaced=f"{move.name}/{number}", limit=20)
    return newest_first(own, others)


def _stage_after(settings: Settings, move: _Move, number: int, elapsed: float, records: list[Record]) -> str | None:
    """The stage of a version that has lost its alias; None while its own promotion may still put it right."""
    own = [r for r in records if r.version == number and r.status == "open" and r.id != move.record]
    if elapsed < _OWNER_PATIENCE and any(writer.is_alive(settings, record) for record in own if record.action in MOVES):
        return None
    return recorded_stage(records, move.name, number) or (move.becomes if number in move.leaving else "None")


def _winner(settings: Settings, move: _Move, state: ModelStages) -> str:
    """A sentence about the version that is there instead, and who promoted it."""
    expected = state.stage_by_alias(move.number)
    number, stage = (move.number, expected) if expected else (state.holder(move.target), move.target)
    listed = search.page(settings, model=move.name, version=number, new=stage, limit=5).records
    winner = next((record for record in listed if record.id != move.record and record.action in MOVES), None)
    by = f" by {winner.user}" if winner else ""
    own = f"{move.name}/{move.number} is {state.stages.get(move.number, 'gone')}."
    return (
        f"{move.name}/{number} was moved to {stage}{by} at the same moment, and came last. {own} Look, and try again."
    )
