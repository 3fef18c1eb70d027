"""A comparison: one prompt, or a whole conversation going on, to two to four versions or endpoints at once.

Each of them has a conversation of its own in the store, whose id follows from the comparison's: by that one id all of
it is found again. A replay is a comparison too, of the recorded answers with the repeated ones.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations
from typing import Any

from phi3core.access.roles import Person
from phi3core.chat import replay
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import add_conversation, load_conversation
from phi3core.chat.live_turn import LiveTurn
from phi3core.chat.target import Target, find_target, model_id
from phi3core.clean_text import clean
from phi3core.errors import BadInput, NotFound
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.serving.room import check_room
from phi3core.settings import Settings
from phi3core.traces.titles import default_title
from phi3core.traces.trace_search import check_conversation_id
from phi3core.traces.turn import Origin, Turn

FEWEST, MOST = 2, 4
KIND = "compare"


@dataclass(frozen=True)
class Candidate:
    """Who is asked. asked_ref: as in `Conversation.ask`. options: generation options under OpenAI's names."""

    target: Target
    asked_ref: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One candidate's answer in a round, and the id of the conversation that it is in. live: while it comes."""

    turn: Turn
    conversation: str
    live: LiveTurn | None = None


@dataclass(frozen=True)
class Round:
    """One prompt with an answer of each candidate, in the candidates' order. open_to: who chose to see the names."""

    entries: tuple[Entry, ...]
    open_to: str = ""

    @property
    def question(self) -> str:
        return self.entries[0].turn.question

    @property
    def running(self) -> bool:
        return any(entry.turn.state == "running" for entry in self.entries)

    @property
    def pairs(self) -> list[tuple[Entry, Entry]]:
        """What can be voted on: two different answers of two versions, whole ones, neither of them from a file."""
        turns = [(entry, entry.turn) for entry in self.entries]
        whole = [entry for entry, turn in turns if turn.state == "done" and turn.answer and not turn.imported]
        return [
            (one, other)
            for one, other in combinations(whole, 2)
            if one.turn.answer != other.turn.answer and one.turn.ref != other.turn.ref
        ]


class Comparison:
    """The conversations of the candidates. id: in the address of its page. replayed: it is of a replay's answers."""

    def __init__(self, id: str, conversations: Sequence[Conversation], open_to: str = "", replayed: bool = False):
        self.id, self.conversations, self.replayed = id, tuple(conversations), replayed
        self._open_to = open_to

    @property
    def running(self) -> bool:
        return any(conversation.running for conversation in self.conversations)

    @property
    def rounds(self) -> list[Round]:
        """What was asked so far, in order. A candidate that is not there any more has no answer in the later ones."""
        if self.replayed:
            pairs = replay.compare(self.conversations[0], self.conversations[1])
            return [self._round([pair.old, pair.new], self.conversations) for pair in pairs]
        paths = [conversation.path for conversation in self.conversations]
        found = []
        longest = max(paths, key=lambda path: len(path))
        for at, first in enumerate(longest):
            asked = [
                (path[at], conversation)
                for path, conversation in zip(paths, self.conversations)
                if len(path) > at and path[at].question == first.question
            ]
            if len(asked) < FEWEST:
                break
            found.append(self._round(*zip(*asked)))
        return found

    def may_go_on(self, user: str) -> bool:
        """Whether a person goes on with it, as `Conversation.may_write` has it; a replay ends with its questions."""
        return not self.replayed and all(conversation.may_write(user) for conversation in self.conversations)

    def stop(self, person: Person | None = None) -> None:
        """End all answers that are coming; what came so far is kept. Raises as `Conversation.stop`."""
        for conversation in self.conversations:
            conversation.stop(person)

    def _round(self, turns: Iterable[Turn], conversations: Iterable[Conversation]) -> Round:
        entries = [Entry(turn, held.id, _live(held, turn)) for turn, held in zip(turns, conversations)]
        return Round(tuple(entries), self._open_to)


def begin(
    settings: Settings,
    pool: Pool,
    candidates: Sequence[Candidate],
    question: str,
    system: str = "",
    user: str = "",
    same_seed: bool = True,
    blind: bool = True,
) -> Comparison:
    """Ask all candidates at once; the answers come in the background.

    Args:
        same_seed: one seed is drawn for all that name none; else each has its own.
        blind: hide from the user, too, whose answer is whose until they have voted; else they have no vote.

    Raises:
        BadInput: there are not two to four different candidates, or the question is empty.
        ServerError: the memory of this machine is too short for all of them at once.
    """
    if not FEWEST <= len(candidates) <= MOST:
        raise BadInput(f"Choose two to four versions to compare: {len(candidates)} are chosen.")
    refs = [candidate.target.ref for candidate in candidates]
    if twice := next((ref for ref in refs if refs.count(ref) > 1), ""):
        raise BadInput(f"{twice} is chosen twice: choose different versions.")
    _check(question)
    check_room(settings, pool, _versions(candidates))
    id, title = uuid.uuid4().hex, f"Comparison: {default_title(clean(question))}"
    origin = Origin(KIND, id, compared=len(candidates), blind=blind)
    made = [
        add_conversation(Conversation(settings, pool, _conversation_id(id, at), user, origin=origin, title=title))
        for at, _ in enumerate(candidates)
    ]
    _ask(zip(made, candidates), question, system, user, same_seed)
    return _comparison(id, made)


def load(settings: Settings, pool: Pool, id: str, person: Person | None = None) -> Comparison:
    """A comparison by its id, of answers that are coming or read from the store. As `load_conversation`."""
    first = load_conversation(settings, pool, _conversation_id(check_conversation_id(id), 0), person)
    count = first.origin.compared if first.origin else 0
    others = [load_conversation(settings, pool, _conversation_id(id, at), person) for at in range(1, count)]
    return _comparison(id, [first, *others])


def load_replay(settings: Settings, pool: Pool, id: str, person: Person | None = None) -> Comparison:
    """A replay's recorded and repeated answers, by the id of the conversation it made. As `load_conversation`."""
    repeated = load_conversation(settings, pool, id, person)
    if repeated.origin is None or repeated.origin.kind != "replay":
        raise BadInput("This conversation repeats no other one: there is nothing to compare.")
    original = load_conversation(settings, pool, repeated.origin.conversation, person)
    return Comparison(id, [original, repeated], replayed=True)


def go_on(settings: Settings, pool: Pool, comparison: Comparison, question: str, user: str = "") -> None:
    """Ask the next question of all candidates that are still there, each with what it said and was asked with before.

    Raises:
        BadInput: the question is empty, answers are coming, or the comparison is of a replay.
        Forbidden: another person began it.
        NotFound: fewer than two of the candidates are there.
        ServerError: the memory of this machine is too short for all of them at once.
    """
    if comparison.replayed:
        raise BadInput("A replay ends with its last question: begin a comparison of your own to go on.")
    if comparison.running:
        raise BadInput("Answers are still coming: wait for them, or stop them.")
    _check(question)
    longest = max(len(conversation.path) for conversation in comparison.conversations)
    asked: list[tuple[Conversation, Candidate]] = []
    for conversation in comparison.conversations:
        last = conversation.path[-1]
        target = _find_target(settings, last) if len(conversation.path) == longest else None
        if target is not None:
            asked.append((conversation, Candidate(target, last.asked_ref, last.options)))
    if len(asked) < FEWEST:
        raise NotFound("Fewer than two of the versions are still there: begin a comparison with others.")
    check_room(settings, pool, _versions(candidate for _, candidate in asked))
    lasts = [conversation.path[-1] for conversation, _ in asked]
    _ask(asked, question, lasts[0].system, user, same_seed=len({turn.seed for turn in lasts}) == 1)


def _ask(
    asked: Iterable[tuple[Conversation, Candidate]], question: str, system: str, user: str, same_seed: bool
) -> None:
    seed = secrets.randbelow(2**31) if same_seed else None
    for conversation, candidate in asked:
        conversation.ask(
            candidate.target, question, system, dict(candidate.options), asked_ref=candidate.asked_ref, user=user,
            seed=seed, lenient=True,
        )  # fmt: skip


def _check(question: str) -> None:
    if not clean(question).strip():
        raise BadInput("The message is empty: write something for the models to answer.")


def _comparison(id: str, conversations: Sequence[Conversation]) -> Comparison:
    first = conversations[0]
    open_to = first.author if first.origin and not first.origin.blind else ""
    return Comparison(id, conversations, open_to)


def _conversation_id(id: str, at: int) -> str:
    return sha256(f"{id}/{at}".encode()).hexdigest()[:32]


def _find_target(settings: Settings, last: Turn) -> Target | None:
    """The version or endpoint that gave an answer; None where it is gone, or another one has its number."""
    try:
        found = find_target(settings, last.ref)
    except (NotFound, BadInput):
        return None
    return found if model_id(found) == last.model_id else None


def _versions(candidates: Iterable[Candidate]) -> list[Version]:
    return [candidate.target for candidate in candidates if isinstance(candidate.target, Version)]


def _live(conversation: Conversation, turn: Turn) -> LiveTurn | None:
    live = conversation.live
    return live if live is not None and live.turn is turn and turn.state == "running" else None
