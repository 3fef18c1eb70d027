"""What a reader may see of a round: before they have voted nothing tells whose answer is whose.

The order is their own for each prompt, names, figures and errors are kept back, and while the answers come all grow at
one pace, because pace tells a fast version from a slow one. Knows nothing of how any of it is drawn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from phi3core.access.roles import Person
from phi3core.traces.turn import Turn

from .ballot import Verdict
from .comparison import Entry, Round

_WORD = re.compile(r"\s*\S+\s*")


@dataclass(frozen=True)
class ShownAnswer:
    """One answer. name: its number in the order, from 1. turn: all of it; None while it is hidden.

    conversation: the id of the one that it is in, once it is shown whose it is. waiting: for what, in words. votable:
    it can be chosen as the best. missing: there is none, and there will be none.
    """

    name: str
    text: str
    turn: Turn | None = None
    conversation: str = ""
    waiting: str = ""
    votable: bool = False
    missing: bool = False


@dataclass(frozen=True)
class Sight:
    """A round as one reader sees it. waiting: what all answers wait for, in words. pending: their vote is awaited."""

    question: str
    answers: tuple[ShownAnswer, ...]
    running: bool
    hidden: bool
    waiting: str = ""

    @property
    def pending(self) -> bool:
        return self.hidden and not self.running


def look(round: Round, reader: Person, verdict: Verdict | None) -> Sight:
    """The round as the reader may see it.

    Hidden from those who may vote, until they have or there is nothing to choose between.

    Args:
        verdict: what the reader said of it; None before.
    """
    votes = may_vote(round, reader)
    hidden = votes and verdict is None and bool(round.running or round.pairs)
    entries = in_order(round, reader) if votes else [*round.entries]
    if not hidden:
        return Sight(
            round.question, tuple(_shown(at, entry) for at, entry in enumerate(entries, start=1)), round.running, False
        )
    texts = _at_one_pace(entries)
    votable = {entry.turn.id for pair in round.pairs for entry in pair} if not round.running else set()
    answers = [
        ShownAnswer(
            str(at), text, votable=entry.turn.id in votable, missing=not round.running and not entry.turn.answer
        )
        for at, (entry, text) in enumerate(zip(entries, texts), start=1)
    ]
    waiting = "Waiting until each has begun" if round.running and not any(texts) else ""
    return Sight(round.question, tuple(answers), round.running, True, waiting)


def may_vote(round: Round, reader: Person) -> bool:
    """Whether the reader has a vote on the round, cast or not: a reviewer has who did not choose to see the names."""
    return reader.may("reviewer") and round.open_to.casefold() != reader.name.casefold()


def in_order(round: Round, reader: Person) -> list[Entry]:
    """The answers in the order of this reader and this prompt: the same at every look, and not to be foretold."""
    return sorted(
        round.entries,
        key=lambda entry: sha256(f"{entry.turn.id} {reader.name.casefold()}".encode(errors="surrogatepass")).digest(),
    )


def _shown(at: int, entry: Entry) -> ShownAnswer:
    waiting = entry.live.waiting if entry.live else ""
    missing = entry.turn.state != "running" and not entry.turn.answer
    return ShownAnswer(str(at), entry.turn.answer, entry.turn, entry.conversation, waiting, missing=missing)


def _at_one_pace(entries: list[Entry]) -> list[str]:
    """The answers, none longer than the slowest: cut behind as many words as that one has whole."""
    # The states first: an answer that ends in between is longer than its last word, and not the other way round.
    running = [entry.turn.state == "running" for entry in entries]
    texts = [entry.turn.answer for entry in entries]
    if not any(running):
        return texts
    words = [_WORD.findall(text) for text in texts]
    whole = [len(found) - bool(found and not found[-1][-1].isspace()) for found, runs in zip(words, running) if runs]
    return ["".join(found[: min(whole)]) for found in words]
