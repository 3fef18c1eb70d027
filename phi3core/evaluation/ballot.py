"""The votes of a comparison: one of each reader on each round, kept as assessments on the answers' traces.

A vote is on true pairs: the best of four is better than each of the three others, and nothing is said of those among
themselves. It may wait for the store as turns do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.errors import BadInput, Conflict, StoreDown
from phi3core.settings import Settings
from phi3core.traces.turn import Turn
from phi3core.traces.votes import Better, Pair

from .comparison import Comparison, Entry, Round

Votes = Mapping[Pair, Better]
"""A person's votes, by the pair of turns that each is on."""


@dataclass(frozen=True)
class Verdict:
    """What a reader said of a round. best: the id of the turn that they chose, for ``best`` alone.

    ``seen``: they looked whose answers these are, and have no vote.
    """

    kind: Literal["best", "tie", "bad", "seen"]
    best: str = ""


TIE, BAD, SEEN = Verdict("tie"), Verdict("bad"), Verdict("seen")


def read(settings: Settings, comparison: Comparison, person: Person) -> Votes:
    """What the person said of the comparison's answers. Raises StoreDown."""
    # A vote stands on the later conversation of its two: there is none on the first.
    found: dict[Pair, Better] = {}
    for conversation in comparison.conversations[1:]:
        found |= history.read_votes(settings, conversation.id, person.name)
    return found


def verdict_of(round: Round, votes: Votes) -> Verdict | None:
    """What the votes say of a round; None where they say nothing of it."""
    best = ""
    for one, other in round.pairs:
        better = votes.get(_pair(one, other))
        if better in ("tie", "bad", "seen"):
            return Verdict(better)
        if better is not None:
            best = (other if better == "new" else one).turn.id
    return Verdict("best", best) if best else None


def cast(settings: Settings, round: Round, verdict: Verdict, person: Person, comment: str = "") -> Votes:
    """Keep the person's vote on a round, and return it as `read` will. The same once more changes nothing.

    Raises:
        Forbidden: the person is a viewer.
        BadInput: there is nothing to choose between, or the person chose to see the names.
        Conflict: the person has voted otherwise, or looked whose answers these are.
    """
    roles.require(person, "reviewer", "voting on answers")
    if round.open_to.casefold() == person.name.casefold():
        raise BadInput("You chose to see whose answers these are: a vote is cast before that.")
    pairs = _pairs(round, verdict)
    before = verdict_of(round, _known(settings, round, person))
    if before is not None:
        if before != verdict:
            raise Conflict("You have voted on this or looked whose answers these are: your first vote stands.")
        return {}
    return _send(settings, pairs, verdict, person, comment)


def reveal(settings: Settings, round: Round, person: Person) -> Votes:
    """Let the person see whose answers these are, for which they give up their vote, or take it back.

    Returns what `read` will. Raises Forbidden for a viewer, BadInput where nothing is hidden.
    """
    roles.require(person, "reviewer", "voting on answers")
    return _send(settings, _pairs(round, SEEN), SEEN, person, "")


def _known(settings: Settings, round: Round, person: Person) -> Votes:
    """What is known of the person's votes; where the store is away, what it has not been sent yet."""
    found: dict[Pair, Better] = {}
    for conversation in {other.conversation for _, other in round.pairs}:
        try:
            found |= history.read_votes(settings, conversation, person.name)
        except StoreDown:  # the first vote counts there, too, once it answers
            found |= history.unsent_votes(settings, conversation, person.name)
    return found


def _pairs(round: Round, verdict: Verdict) -> list[tuple[Entry, Entry]]:
    """The pairs that a verdict says something of. Raises BadInput where there are none."""
    if round.running:
        raise BadInput("Answers are still coming: vote when all have ended.")
    found = [
        pair for pair in round.pairs if verdict.kind != "best" or verdict.best in (pair[0].turn.id, pair[1].turn.id)
    ]
    if not found:
        raise BadInput(
            "There is nothing to choose between: it takes two different answers of two versions, given in this app."
        )
    return found


def _send(
    settings: Settings, pairs: list[tuple[Entry, Entry]], verdict: Verdict, person: Person, comment: str
) -> Votes:
    sent: dict[Pair, Better] = {}
    for one, other in pairs:
        better = _better(verdict, other)
        event = {"turn": other.turn.id, "better": better, "user": person.name, "comment": comment.strip(), "once": True}
        event |= {"new": _side(other.turn), "old": _side(one.turn)}
        history.vote(settings, other.conversation, event)
        sent[_pair(one, other)] = better
    return sent


def _better(verdict: Verdict, other: Entry) -> Better:
    if verdict.kind != "best":
        return verdict.kind
    return "new" if verdict.best == other.turn.id else "old"


def _side(turn: Turn) -> dict[str, str]:
    return {"ref": turn.ref, "model_id": turn.model_id, "turn": turn.id}


def _pair(one: Entry, other: Entry) -> Pair:
    return other.turn.id, one.turn.id
