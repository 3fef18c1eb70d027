"""The queue of a review: which item a reviewer gets next, and that no item goes to more of them than it needs.

An item is reserved by a claim whose id is made from the item and the place (`traces/acts.py`): of a hundred who claim
the same place at once the store takes one. Claims end by themselves. Each reviewer has an order of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import Conflict, Forbidden, NotFound
from phi3core.settings import Settings
from phi3core.timestamps import now_ms
from phi3core.traces import acts

from .board import Board, board_of
from .item_state import MARGIN, ItemState
from .items import ReviewItem, items_of
from .review import Review

_GAP = 5
"""Other items that come between an item and its repetition, while there are any."""


@dataclass(frozen=True)
class Turn:
    """What a reviewer judges next. check: it is a repetition, which they are not told."""

    item: ReviewItem
    check: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a review is. done: votes of this person, and waiting: items that wait for them, repetitions included.

    votes: of all, that count, and wanted: how many it takes. held: reserved by others at the moment, who have not voted
    yet, of items that this person has not judged and may still get.
    """

    done: int
    waiting: int
    votes: int
    wanted: int
    held: int


def require_reviewer(review: Review, person: Person) -> None:
    """Raise Forbidden unless the person may review, Conflict where the review takes no votes any more."""
    roles.require(person, "reviewer", "judging answers in a review")
    if not review.plan.asks(person):
        raise Forbidden(f"This review asks others: {review.by}, who owns it, names the reviewers.")
    if review.state == "closed":
        raise Conflict("This review is closed: its result is fixed.")
    if review.closing:
        raise Conflict(f"This review is being closed. If it stays so, have {review.by} close it once more.")
    if review.state == "over":
        raise Conflict(f"The deadline of this review has passed: {review.by} can close it now.")


def find_next(settings: Settings, review: Review, person: Person) -> Turn | None:
    """Reserve the next item for a person; the one that is reserved for them already, where there is one.

    Returns None where nothing waits for them, though others may hold what they will give back (`Progress.held`).

    Raises:
        Forbidden, Conflict: as `require_reviewer`.
        StoreDown: the store does not answer.
    """
    require_reviewer(review, person)
    board, items, now = board_of(settings, review), items_of(settings, review), now_ms()
    for id in _claimed_by(board, person.name, now):
        if _reserve(settings, review, board, items[id], person, now):
            return Turn(items[id])
    due = _due_check(review, board, person.name)
    if due is not None and due.soon:
        return Turn(items[due.item], check=True)
    standing = board.standing()
    for id in order_of(review, items, person.name):
        if id not in standing.open or id in standing.voted_by(person.name):
            continue
        if not _has_room(board.state(id), person.name, now):
            continue
        if _reserve(settings, review, board, items[id], person, now):
            return Turn(items[id])
    return None if due is None else Turn(items[due.item], check=True)


def measure(settings: Settings, review: Review, person: Person) -> Progress:
    """How far the review is, as it was known at the last reading. Raises StoreDown."""
    board, now, name = board_of(settings, review), now_ms(), person.name
    standing = board.standing()
    with board.lock:
        voted, checked = standing.voted_by(name), standing.checked_by(name)
        mine = {id for id in standing.claimed if standing.states[id].claim_of(name, now)}
        full = {id for id in standing.claimed - voted - mine if not _has_room(standing.states[id], name, now)}
        held = sum(standing.states[id].held(now) for id in standing.claimed - voted - mine)
        waiting = len(standing.open | mine) - len(standing.open & voted) - len(full & standing.open)
        due = sum(is_checked(review, id) for id in voted - checked) if review.plan.checks else 0
        return Progress(len(voted) + len(checked), waiting + due, standing.votes, standing.wanted, held)


def keep_place(settings: Settings, review: Review, item: ReviewItem, person: Person) -> bool:
    """Make sure that a vote of the person, sent now, has a place: their reservation, or one of those that are free."""
    board, now = board_of(settings, review), now_ms()
    claim = board.state(item.id).claim_of(person.name, now + MARGIN)
    return claim is not None or _reserve(settings, review, board, item, person, now)


def order_of(review: Review, items: Iterable[str], reviewer: str) -> tuple[str, ...]:
    """The items' ids in the order of this reviewer: the same at every look, and another one for each."""
    return _order(review.id, tuple(items), reviewer.casefold())


@lru_cache(maxsize=64)
def _order(review: str, ids: tuple[str, ...], reviewer: str) -> tuple[str, ...]:
    def place(id: str) -> bytes:
        return hashlib.sha256(f"{review} {id} {reviewer}".encode(errors="surrogatepass")).digest()

    return tuple(sorted(ids, key=place))


def is_checked(review: Review, item: str) -> bool:
    """Whether the item comes twice to those who judge it: a share of all, drawn by a hash."""
    drawn = int(hashlib.sha256(f"{review.id} {item} check".encode()).hexdigest()[:8], 16)
    return drawn < review.plan.checks * 2**32


# ---------------------------------------------------------------- inside


@dataclass(frozen=True)
class _Check:
    item: str
    soon: bool


def _claimed_by(board: Board, name: str, now: int) -> list[str]:
    """The items that are reserved for a person, the one that was claimed first before the others."""
    standing = board.standing()
    with board.lock:
        claims = [claim for id in standing.claimed if (claim := standing.states[id].claim_of(name, now)) is not None]
    return [claim.item for claim in sorted(claims, key=lambda claim: claim.at)]


def _due_check(review: Review, board: Board, name: str) -> _Check | None:
    """The repetition that waits the longest. soon: enough other items came since."""
    if not review.plan.checks:
        return None
    standing = board.standing()
    with board.lock:
        checked = standing.checked_by(name)
        at = {id: vote.at for id in standing.voted_by(name) if (vote := standing.states[id].vote_of(name)) is not None}
    waiting = [(at[id], id) for id in at if id not in checked and is_checked(review, id)]
    if not waiting:
        return None
    since, item = min(waiting)
    return _Check(item, sum(when > since for when in at.values()) >= _GAP)


def _has_room(state: ItemState, name: str, now: int) -> bool:
    if state.vote_of(name) is not None or state.claim_of(name, now) is not None:
        return False
    return state.free_claim("", "", name, now) is not None


def _reserve(settings: Settings, review: Review, board: Board, item: ReviewItem, person: Person, now: int) -> bool:
    """Reserve an item for a person, or find it reserved for them already.

    False where it needs no one any more, or where the answer's trace, which would hold the vote, was deleted.
    """
    try:
        return _claim(settings, review, board, item, person, now)
    except NotFound:
        board.lose(item.id)
        return False


def _claim(settings: Settings, review: Review, board: Board, item: ReviewItem, person: Person, now: int) -> bool:
    state = board.state(item.id)
    if state.claims:  # else the first one to claim it has it, whatever was read when
        state = board.read_item(item.id)
    while state.vote_of(person.name) is None:
        own = state.claim_of(person.name, now)
        if own is not None and state.claim_of(person.name, now + MARGIN) is not None:
            return True
        renewed = state.renewed_claim(person.name, now) if own is not None else None
        claim = renewed or state.free_claim(review.id, item.id, person.name, now)
        if claim is None:
            return False
        if acts.write_act(settings, item.trace_id, claim, "reserved"):
            board.note([claim])
            return True
        state = board.read_item(item.id)
    return False
