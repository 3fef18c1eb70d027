"""Responses as turns of conversations, for the gateway's History: each is stored as one, and goes on from its own.

Only the person who began a conversation goes on from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from phi3core.access.roles import Person
from phi3core.errors import NotFound
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.traces.turn import Turn

from . import history
from .conversation import Conversation
from .live_conversations import delete_turn, find_live

Message = dict[str, str]


@dataclass(frozen=True)
class ResponseThread:
    """A conversation up to a turn, "" for its beginning. messages: what was said until then, without instructions."""

    conversation: Conversation
    parent: str
    messages: list[Message]

    @property
    def id(self) -> str:
        return self.conversation.id

    def add(self, turn: Turn) -> None:
        """Keep a turn there. Raises OSError."""
        follows = replace(turn, parent=self.parent, sent=None)
        as_sent = self.conversation.sent_for(follows) == turn.sent
        self.conversation.adopt([follows if as_sent else replace(follows, sent=turn.sent)])


class ResponseHistory:
    """The conversations of this installation. pool: the servers that answer them."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings, self._pool = settings, pool

    def begin(self, user: str) -> ResponseThread:
        """A new conversation of this person."""
        return ResponseThread(Conversation(self._settings, self._pool, user=user), "", [])

    def find(self, turn: str, user: str) -> ResponseThread:
        """The conversation up to a turn and its answer. Raises NotFound where it is not this person's; StoreDown."""
        conversation, found = self._find(turn, user)
        sent = conversation.sent_for(found)
        if found.system and sent[:1] == [{"role": "system", "content": found.system}]:
            sent = sent[1:]
        return ResponseThread(conversation, turn, [*sent, {"role": "assistant", "content": found.answer}])

    def get(self, turn: str, user: str) -> Turn:
        """A turn. Raises as `find`."""
        return self._find(turn, user)[1]

    def delete(self, turn: str, person: Person) -> None:
        """Remove a turn for good. Raises as `find`, and Conflict where others go on from it."""
        conversation, found = self._find(turn, person.name)
        delete_turn(self._settings, conversation, found, person)

    def _find(self, turn: str, user: str) -> tuple[Conversation, Turn]:
        conversation = self._read(history.find_conversation(self._settings, turn))
        found = conversation.tree.get(turn)
        if found is None or found.state not in ("done", "stopped") or not _same(conversation.author, user):
            raise NotFound("This response is not there (any more).")
        return conversation, found

    def _read(self, id: str) -> Conversation:
        """The live one, else read from its traces; not kept in memory, where a page's would have to give way."""
        if live := find_live(id):
            return live
        stored = history.read(self._settings, id)
        return Conversation(self._settings, self._pool, id, "", stored.turns, stored.origin, stored.title)


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
