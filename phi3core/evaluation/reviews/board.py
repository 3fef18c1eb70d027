"""How all items of a review stand, in memory: read as a whole now and then, and corrected by every single reading.

It tells which items may have room, and how far a review is. What is reserved is read of the item itself, so that the
board may be behind what other app servers write.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable

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


class Board:
    """A review's items and how they stand. Safe to use from many threads."""

    def __init__(self, settings: Settings, review: Review) -> None:
        self._settings, self._review = settings, review
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._states: dict[str, ItemState] = {}
        self._read_at, self._took = 0.0, 0.0

    def states(self) -> dict[str, ItemState]:
        """By item. Waits for the store the first time; later what is old is read anew in the background."""
        if not self._read_at:
            with self._reading:
                if not self._read_at:
                    self.refresh()
        elif time.monotonic() - self._read_at > max(_FRESH, _SHARE * self._took) and self._reading.acquire(False):
            threading.Thread(target=self._refresh_beside, name="review-board", daemon=True).start()
        return self._states

    def refresh(self) -> dict[str, ItemState]:
        """Read all of it now. Raises StoreDown."""
        started = time.monotonic()
        waiting = pending_acts(self._settings, self._review)  # before the store: what is sent in between is not missed
        found = [*acts.search_acts(self._settings, self._review.id, self._review.evaluation), *waiting]
        of_items: dict[str, list[Act]] = {id: [] for id in items_of(self._settings, self._review)}
        for act in found:
            if act.item in of_items:
                of_items[act.item].append(act)
        with self._lock:
            # What was done here meanwhile may be newer than what was read.
            known = self._states
            self._states = {
                id: (known[id] if id in known else ItemState((), self._review.plan.reviews)).merged(done)
                if done or id not in known
                else known[id]
                for id, done in of_items.items()
            }
            self._took, self._read_at = time.monotonic() - started, time.monotonic()
            return self._states

    def read_item(self, item: str) -> ItemState:
        """One item, as the store has it now. Raises NotFound, StoreDown."""
        trace_id = items_of(self._settings, self._review)[item].trace_id
        waiting = pending_acts(self._settings, self._review)
        self.note([*acts.read_acts(self._settings, self._review.id, trace_id), *waiting])
        return self.states()[item]

    def note(self, done: Iterable[Act]) -> None:
        """Add acts that were read, or done here."""
        of_items: dict[str, list[Act]] = {}
        for act in done:
            of_items.setdefault(act.item, []).append(act)
        self.states()
        with self._lock:
            for item, added in of_items.items():
                if item in self._states:
                    self._states[item] = self._states[item].merged(added)

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
