"""Replays: a conversation's questions asked once more, and the answers compared.

Every turn is asked with its recorded history, parameters and seed, so that differences do not add up from turn to
turn. The result is a conversation of its own.
"""

from __future__ import annotations

import difflib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from phi3core.access.roles import Person
from phi3core.errors import BadInput, Phi3Error
from phi3core.traces.turn import Origin, Turn

from .conversation import Conversation
from .live_conversations import add_conversation
from .target import Target

_PREFIX = "Replay: "
_live: dict[str, Replay] = {}


@dataclass(frozen=True)
class DiffPiece:
    """A stretch of text: in both answers (``same``), only in the recorded one (``old``) or only in the new one."""

    kind: Literal["same", "old", "new"]
    text: str


@dataclass(frozen=True)
class AnswerPair:
    """A recorded turn beside its repetition."""

    old: Turn
    new: Turn

    @property
    def same(self) -> bool:
        """Whether both answers are the same to the letter."""
        return self.old.answer == self.new.answer

    @property
    def diff(self) -> list[DiffPiece]:
        """The two answers word by word: ``same`` and ``old`` make the old one, ``same`` and ``new`` the new one."""
        return diff(self.old.answer, self.new.answer)


class Replay:
    """A repetition under way. conversation: the new one, which grows; total: turns to ask; done: those that ended.

    state: ``failed`` means that it ended early, and `error` says why; what was answered is kept.
    """

    def __init__(self, original: Conversation, conversation: Conversation, turns: list[Turn]) -> None:
        self.original, self.conversation = original, conversation
        self.total, self.done = len(turns), 0
        self.state: Literal["running", "done", "stopped", "failed"] = "running"
        self.error = ""
        self._turns = turns
        self._stop = threading.Event()

    def stop(self, person: Person | None = None) -> None:
        """End it, and the answer that is coming; what was answered is kept. As `Conversation.stop`."""
        self.conversation.stop(person)
        self._stop.set()
        self.conversation.stop(person)  # an answer may have begun in between

    def follow(self, every: float = 0.1) -> Iterator[Replay]:
        """Yield the replay every so many seconds until it has ended, and then once more."""
        while self.state == "running":
            yield self
            time.sleep(every)
        yield self

    @property
    def pairs(self) -> list[AnswerPair]:
        """What has been answered so far, in order."""
        return compare(self.original, self.conversation)

    def _run(self, target: Target, asked_ref: str) -> None:
        try:
            self.state = self._ask_all(target, asked_ref)
        except Phi3Error as error:
            self.error, self.state = str(error), "failed"
        except Exception as error:  # whatever it is, the replay must not stay running
            self.error, self.state = f"The replay broke off: {error!r}", "failed"

    def _ask_all(self, target: Target, asked_ref: str) -> Literal["done", "stopped", "failed"]:
        for old in self._turns:
            if self._stop.is_set():
                return "stopped"
            live = self.conversation.repeat(old, target, self.original.sent_for(old), asked_ref)
            if self._stop.is_set():
                live.stop()  # `stop` may have been called before it was there
            new = live.wait()
            if new.state == "failed":
                self.error = new.error
                return "failed"
            if new.state == "stopped":
                return "stopped"
            self.done += 1
        return "done"


def start(original: Conversation, target: Target, asked_ref: str = "", user: str = "") -> Replay:
    """Repeat the conversation's active path with a version or an endpoint, in the background.

    Args:
        asked_ref: as in `Conversation.ask`.
        user: the author of the new conversation.

    Raises:
        BadInput: there is nothing to repeat, or an answer is coming.
    """
    if original.running:
        raise BadInput("An answer is still coming: wait for it, or stop it, then replay.")
    turns = [turn for turn in original.path if turn.answer]
    if not turns:
        raise BadInput("There is no answer in this conversation to compare with.")
    title = re.sub(f"^({_PREFIX})*", _PREFIX, original.title)
    made = add_conversation(original.derive(Origin("replay", original.id), title, user))
    found = _live[made.id] = Replay(original, made, turns)
    for old in [id for id, held in _live.items() if held.state != "running"][:-20]:
        _live.pop(old, None)
    threading.Thread(target=found._run, args=(target, asked_ref), daemon=True).start()
    return found


def find_replay(id: str, person: Person | None = None) -> Replay | None:
    """The replay that makes the conversation with this id, if this process started it and still holds it."""
    found = _live.get(id)
    return found if found and found.conversation.may_read(person) and found.original.may_read(person) else None


def compare(original: Conversation, repeated: Conversation) -> list[AnswerPair]:
    """The pairs of turns of which the second repeats the first, in order; also for a replay that was read again."""
    pairs = [(original.tree.get(turn.copy_of), turn) for turn in repeated.path if turn.state != "running"]
    return [AnswerPair(old, new) for old, new in pairs if old is not None]


def diff(old: str, new: str) -> list[DiffPiece]:
    """Two texts word by word."""
    before, after = re.findall(r"\s+|\w+|[^\w\s]", old), re.findall(r"\s+|\w+|[^\w\s]", new)
    pieces: list[DiffPiece] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(DiffPiece("same", "".join(before[i:j])))
            continue
        pieces += [DiffPiece("old", "".join(before[i:j]))] if j > i else []
        pieces += [DiffPiece("new", "".join(after[k:m]))] if m > k else []
    return pieces
