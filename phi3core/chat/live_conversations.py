"""The conversations that this process holds in memory, by their ids; an older one is read from its traces again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from phi3core.access.roles import Person
from phi3core.errors import Conflict, NotFound
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.traces.trace_search import NOT_THERE
from phi3core.traces.turn import Turn

from . import history
from .conversation import Conversation

_MOST = 200
_live: OrderedDict[str, Conversation] = OrderedDict()
_lock = threading.Lock()


def load_conversation(settings: Settings, pool: Pool, id: str, person: Person | None = None) -> Conversation:
    """A conversation by its id: the live one, else read from its traces.

    Args:
        person: who reads it, and asks in it where `ask` is not told; by default the user of this machine.

    Raises:
        BadInput: this is no conversation's id.
        NotFound: it is not there, or it is private and not this person's.
    """
    with _lock:
        found = _live.get(id)
        if found:
            _live.move_to_end(id)
    if found is None:
        stored, user = history.read(settings, id), person.name if person else ""
        found = Conversation(settings, pool, id, user, stored.turns, stored.origin, stored.title)
    if not found.may_read(person):
        raise NotFound(NOT_THERE)
    return add_conversation(found)


def add_conversation(conversation: Conversation) -> Conversation:
    """Hold a conversation in memory, so that a reloaded page finds it with its running answer.

    Returns the one that is held under its id: another thread may have read it at the same time.
    """
    with _lock:
        held = _live.setdefault(conversation.id, conversation)
        for old in [id for id, other in _live.items() if not other.running][: max(0, len(_live) - _MOST)]:
            del _live[old]
    return held


def rename_conversation(settings: Settings, id: str, title: str, person: Person | None = None) -> None:
    """Give a conversation another title, whether it is in memory or not; the store may be away.

    Raises BadInput for an empty title or an odd id, Forbidden for a person who is neither its author nor an admin.
    """
    live = find_live(id)
    history.rename(settings, id, title, person, live.author if live else "")
    if live:
        live.set_title(title)


def delete_conversation(settings: Settings, id: str, person: Person | None = None) -> None:
    """Remove a conversation for good, stopping its answer. Ask before you call it.

    Raises BadInput for an odd id, Forbidden for a person who is neither its author nor an admin.
    """
    live = find_live(id)
    author = live.author if live else ""
    history.require_author(settings, id, person, author, "delete")
    with _lock:
        live = _live.pop(id, None)
    if live is not None:
        live.mark_deleted()
    history.delete(settings, id, person, author)


def delete_turn(settings: Settings, conversation: Conversation, turn: Turn, person: Person) -> None:
    """Remove the last turn of a branch for good, and with the only one of a conversation that as a whole.

    Raises Conflict where others follow it, Forbidden for a person who is neither its author nor an admin.
    """
    if any(other.parent == turn.id for other in conversation.tree.values()):
        raise Conflict("Later turns go on from this one and repeat what it says: delete those first.")
    if len(conversation.tree) == 1:
        delete_conversation(settings, conversation.id, person)
        return
    history.delete_turn(settings, conversation.id, turn.id, person, conversation.author)
    conversation.remove(turn)


def find_live(id: str) -> Conversation | None:
    """A conversation by its id, None where it is not in memory."""
    with _lock:
        return _live.get(id)
