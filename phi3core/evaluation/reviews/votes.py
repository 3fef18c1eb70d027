"""Votes in a review: cast, taken back, and read as judgements.

A vote waits for the store as turns do: `cast` returns once it is on this machine's disk; where tracing is off, and
nothing is kept there, once the store has it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from phi3core.access.roles import Person
from phi3core.chat.events import send_event
from phi3core.clean_text import one_line, without_control
from phi3core.errors import BadInput, Conflict, StoreDown
from phi3core.evaluation.judgement import Judgement
from phi3core.settings import Settings
from phi3core.timestamps import now_ms
from phi3core.traces import acts, outbox
from phi3core.traces.acts import Act, Value

from .board import board_of
from .item_state import ItemState, same
from .items import ReviewItem, items_of
from .queue import Turn, keep_place, require_reviewer
from .review import Review, read_review
from .sight import in_order, kept_value

LONGEST = 5000
"""Letters of a free text, and of a comment."""

_SIDES = ("left", "right")

CHOICES: Mapping[str, tuple[Value, ...]] = {
    "pairwise": ("first", "second", "tie", "bad"),
    "pass": ("pass", "fail"),
    "rating": (1, 2, 3, 4, 5),
}
"""What a vote says, by the form; ``first`` and ``second`` are what the reviewer was shown there. A text says any."""


def cast(
    settings: Settings, review: Review, turn: Turn, person: Person, values: Mapping[str, Value], comment: str = ""
) -> None:
    """Keep the person's vote on an item that was shown to them (`sight.look`). Once more the same changes nothing.

    Args:
        values: one of `CHOICES` by criterion, "" for a form without.

    Raises:
        Forbidden: the person is a viewer, or none of the reviewers.
        BadInput: the vote is none, or its text is too long.
        Conflict: the review is closed, the item has all the votes it needs, or the person has voted otherwise.
        OSError: it can't be written to this machine's disk.
        NotFound, StoreDown: tracing is off, and the answer's trace was deleted, or the store does not answer.
    """
    with contextlib.suppress(StoreDown):
        review = read_review(settings, review.id)
    require_reviewer(review, person)
    kept = _checked(review, turn, person, values)
    if len(comment) > LONGEST:
        raise BadInput(f"The comment has {len(comment):,} letters; {LONGEST:,} are kept.")
    board = board_of(settings, review)
    state = board.state(turn.item.id)
    if (before := state.vote_of(person.name, turn.check)) is not None:
        if before.values != kept:
            raise Conflict("You have voted on this one: take your vote back first.")
        return
    if turn.check:
        if state.vote_of(person.name) is None:
            raise Conflict("You took your vote on this one back: go on with the next.")
    elif not _has_place(settings, review, turn.item, person):
        raise Conflict("Others have voted on this one meanwhile, and it needs no more votes: go on with the next.")
    number = len(state.votes_of(person.name, turn.check))
    first = in_order(review, turn.item, person.name, turn.check)[0].ref
    act = Act(
        "vote", review.id, turn.item.id, one_line(person.name, 250), number, check=turn.check, values=kept, first=first,
        comment=without_control(comment.strip()),
    )  # fmt: skip
    _keep(settings, review, turn.item, act, _words(turn.item, kept))


def last_vote(settings: Settings, review: Review, person: Person) -> Act | None:
    """The person's latest vote that stands; None where there is none."""
    board = board_of(settings, review)
    standing, name = board.standing(), person.name
    with board.lock:
        done = [(id, False) for id in standing.voted_by(name)] + [(id, True) for id in standing.checked_by(name)]
        own = [vote for id, check in done if (vote := standing.states[id].vote_of(name, check)) is not None]
    return max(own, key=lambda act: act.at, default=None)


def undo(settings: Settings, review: Review, person: Person) -> None:
    """Take the person's latest vote back: the item waits for them again, and the history keeps both.

    Raises:
        Forbidden, Conflict: as for a vote; Conflict, too, where there is none.
        StoreDown: the place can't be kept for them.
    """
    require_reviewer(read_review(settings, review.id), person)
    vote = last_vote(settings, review, person)
    if vote is None:
        raise Conflict("There is no vote of yours to take back.")
    board, item = board_of(settings, review), items_of(settings, review)[vote.item]
    if not vote.check:
        # Before the vote goes: else another reviewer could take its place in between.
        claim = board.read_item(item.id).renewed_claim(person.name, now_ms())
        if claim is not None and acts.write_act(settings, item.trace_id, claim, "reserved"):
            board.note([claim])
    act = Act("undo", review.id, item.id, vote.reviewer, vote.number, check=vote.check)
    _keep(settings, review, item, act, "taken back")


def read_judgements(settings: Settings, review: Review, fresh: bool = False) -> list[Judgement]:
    """What was said of all items, only what counts, and what was said of repetitions.

    Args:
        fresh: read all of it anew, and not as it was known at the last reading.

    Raises:
        StoreDown: the store does not answer.
    """
    board, items = board_of(settings, review), items_of(settings, review)
    states = board.refresh() if fresh else board.states()
    return [one for id, state in states.items() for one in _judgements(review, items[id], state)]


def _judgements(review: Review, item: ReviewItem, state: ItemState) -> Iterable[Judgement]:
    counted = {act.reviewer.casefold() for act in state.counted}
    # A repetition says something of who judged the item; without that vote it says nothing.
    checks = [act for act in state.checks if act.reviewer.casefold() in counted]
    for act in [*state.counted, *checks]:
        for criterion, value in act.values.items():
            if not _is_kept_value(review, criterion, value):  # another program wrote it
                continue
            yield Judgement(
                item.id, act.reviewer, review.plan.form, item.left.ref, item.right.ref if item.right else "", act.first,
                criterion, value, act.comment, act.at, act.check,
            )  # fmt: skip


# ---------------------------------------------------------------- inside


def _is_kept_value(review: Review, criterion: str, value: Value) -> bool:
    """Whether a vote of this review's form says this."""
    form = review.plan.form
    kept = (*_SIDES, "tie", "bad") if form == "pairwise" else CHOICES.get(form)
    fits = type(value) in (str, int) and value in kept if kept else isinstance(value, str)
    return criterion in review.plan.per_answer and fits


def _checked(review: Review, turn: Turn, person: Person, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values as they are kept. Raises BadInput."""
    plan = review.plan
    if sorted(values) != sorted(plan.per_answer):
        missing = [name for name in plan.per_answer if name not in values]
        raise BadInput(f"Rate {missing[0]}, too." if missing and missing[0] else "This is no vote on this item.")
    if plan.form == "text":
        text = without_control(str(values[""])).strip()
        if not text or len(text) > LONGEST:
            raise BadInput(f"Write something, at most {LONGEST:,} letters.")
        return {"": text}
    choices = CHOICES[plan.form]
    # By its type, too: True and 1.0 equal the mark 1.
    if wrong := [value for value in values.values() if type(value) not in (str, int) or value not in choices]:
        raise BadInput(f"“{str(wrong[0])[:40]}” is no choice here. There are {', '.join(map(str, choices))}.")
    return {name: kept_value(review, turn, person, values[name]) for name in plan.per_answer}


def _has_place(settings: Settings, review: Review, item: ReviewItem, person: Person) -> bool:
    try:
        return keep_place(settings, review, item, person)
    except StoreDown:
        # It was reserved for them when they were shown it. Should it have gone to another meanwhile, that one counts.
        return any(
            same(claim.reviewer, person.name) for claim in board_of(settings, review).state(item.id).claims.values()
        )


def _keep(settings: Settings, review: Review, item: ReviewItem, act: Act, words: str) -> None:
    if settings.tracing:
        outbox.put(settings, acts.event_of(item.trace_id, act, words), send_event)
    else:  # that leaves conversations out of the store; a vote is kept all the same
        acts.write_act(settings, item.trace_id, act, words)
    board_of(settings, review).note([act])


def _words(item: ReviewItem, values: Mapping[str, Value]) -> str:
    """What MLflow's own pages show of a vote."""
    one, other = item.left.ref, item.right.ref if item.right else ""
    signs = {
        "left": f"{one} > {other}",
        "right": f"{other} > {one}",
        "tie": f"{one} = {other}",
        "bad": f"{one} ≠ {other}",
    }
    if item.right is not None:
        return signs[str(values[""])]
    return ", ".join(f"{name} {value}".strip() for name, value in values.items())
