"""How all items of a review stand, in memory: read as a whole now and then, and corrected by every single reading.

It tells which items may have room, and how far a review is. What is reserved is read of the item itself, so that the
board may be behind what other app servers write.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from phi3core.errors import Phi3Error
from phi3core.settings import Settings
from phi3core.traces import acts, outbox
from phi3core.traces.acts import Act

from .item_state import ItemState
from .items import items_of
from .review import Review

_FRESH = 20.0  # seconds after which it is read again, beside
_SHARE = 20  # it is read for at most one part in so many of the time
_KEPT = 20  # reviews


@dataclass
class Standing:
    """A review's items by how they stand, so that nobody counts thousands of them for one vote.

    states: by item. open: items that lack votes, but for those that are gone: their answers' traces, which would hold
    the votes, were deleted. claimed: those that were reserved for someone who has not voted.
    voted, checked: by reviewer, the items that they voted on, and those whose repetition they voted on. votes: how many
    count.
    """

    states: dict[str, ItemState] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    claimed: set[str] = field(default_factory=set)
    voted: dict[str, set[str]] = field(default_factory=dict)
    checked: dict[str, set[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    votes: int = 0

    def put(self, item: str, state: ItemState) -> None:
        """Note how an item stands now."""
        before = self.states.get(item)
        if before is not None:
            self.votes -= len(before.counted)
            for name in before.voters:
                self.voted[name].discard(item)
            for act in before.checks:
                self.checked[act.reviewer.casefold()].discard(item)
        self.states[item] = state
        self.votes += len(state.counted)
        for name in state.voters:
            self.voted.setdefault(name, set()).add(item)
        for act in state.checks:
            self.checked.setdefault(act.reviewer.casefold(), set()).add(item)
        there = item not in self.gone
        (self.open.add if there and len(state.voters) < state.reviews else self.open.discard)(item)
        (self.claimed.add if there and state.unused_claims else self.claimed.discard)(item)

    def lose(self, item: str) -> None:
        """Note that an item can get no vote any more."""
        self.gone.add(item)
        self.open.discard(item)
        self.claimed.discard(item)

    @property
    def wanted(self) -> int:
        """How many votes it takes: of an item that is gone, those that it has."""
        return sum(len(one.counted) if id in self.gone else one.reviews for id, one in self.states.items())

    def voted_by(self, reviewer: str) -> set[str]:
        """The items that a reviewer voted on."""
        return self.voted.get(reviewer.casefold(), set())

    def checked_by(self, reviewer: str) -> set[str]:
        """The items whose repetition a reviewer voted on."""
        return self.checked.get(reviewer.casefold(), set())


class Board:
    """A review's items and how they stand. Safe to use from many threads."""

    def __init__(self, settings: Settings, review: Review) -> None:
        self._settings, self._review = settings, review
        self._reading = threading.Lock()
        self.lock = threading.RLock()
        self._standing = Standing()
        self._read_at, self._took = 0.0, 0.0

    def standing(self) -> Standing:
        """How all stands; hold `lock` to iterate over what is in it.

        Waits for the store the first time; later what is old is read anew in the background.
        """
        if not self._read_at:
            with self._reading:
                if not self._read_at:
                    self.refresh()
        elif time.monotonic() - self._read_at > max(_FRESH, _SHARE * self._took) and self._reading.acquire(False):
            threading.Thread(target=self._refresh_beside, name="review-board", daemon=True).start()
        return self._standing

    def state(self, item: str) -> ItemState:
        """How one item stands, as far as it is known."""
        return self.standing().states[item]

    def states(self) -> dict[str, ItemState]:
        """By item, as they are known at this moment."""
        found = self.standing()
        with self.lock:
            return dict(found.states)

    def refresh(self) -> dict[str, ItemState]:
        """Read all of it now. Raises StoreDown."""
        started = time.monotonic()
        waiting = pending_acts(self._settings, self._review)  # before the store: what is sent in between is not missed
        found = [*acts.search_acts(self._settings, self._review.id, self._review.evaluation), *waiting]
        items = items_of(self._settings, self._review)
        with self.lock:
            for item in items:
                if item not in self._standing.states:
                    self._standing.put(item, ItemState((), self._review.plan.reviews))
            self._add(found)
            self._took, self._read_at = time.monotonic() - started, time.monotonic()
            return dict(self._standing.states)

    def read_item(self, item: str) -> ItemState:
        """One item, as the store has it now. Raises NotFound, StoreDown."""
        trace_id = items_of(self._settings, self._review)[item].trace_id
        waiting = pending_acts(self._settings, self._review)
        self.note([*acts.read_acts(self._settings, self._review.id, trace_id), *waiting])
        return self.state(item)

    def lose(self, item: str) -> None:
        """Note that the trace of an item's answer was deleted, so that it is asked for once."""
        self.standing()
        with self.lock:
            self._standing.lose(item)

    def note(self, done: Iterable[Act]) -> None:
        """Add acts that were read, or done here."""
        self.standing()
        with self.lock:
            self._add(done)

    def _add(self, done: Iterable[Act]) -> None:
        of_items: dict[str, list[Act]] = {}
        for act in done:
            of_items.setdefault(act.item, []).append(act)
        for item, added in of_items.items():
            # Acts are never changed: what is known already is no news.
            if (state := self._standing.states.get(item)) is not None and not state.knows(added):
                self._standing.put(item, state.merged(added))

    def _refresh_beside(self) -> None:
        try:
            self.refresh()
        except Phi3Error:  # what is known stays, and is tried again after a while
            self._read_at = time.monotonic()
        finally:
            self._reading.release()


def pending_acts(settings: Settings, review: Review) -> list[Act]:
    """What this machine's outbox has for a review."""
    events = (event for event in outbox.pending_events(settings) if event["conversation"] == review.id)
    return [acts.act_of_event(event) for event in events if event["kind"] == acts.EVENT]


_boards: OrderedDict[tuple[str, str, str], Board] = OrderedDict()
_boards_lock = threading.Lock()


def board_of(settings: Settings, review: Review) -> Board:
    """The board of a review in this process."""
    key = settings.tracking_uri, str(settings.home), review.id
    with _boards_lock:
        board = _boards[key] = _boards.get(key) or Board(settings, review)
        _boards.move_to_end(key)
        while len(_boards) > _KEPT:
            _boards.popitem(last=False)
        return board
