"""Conversations in the store: kept, read, renamed, rated and deleted. What is not sent yet is read all the same.

A conversation is a session of MLflow traces, a turn is one of them. Nothing here waits for the store in order to
write: the outbox keeps what is to be written, and sends it in the background. Where tracing is off, all of it happens
in this process's memory. Listing and searching them is in `search`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.clean_text import clean, one_line
from phi3core.errors import BadInput, Forbidden, NotFound, StoreDown
from phi3core.settings import Settings
from phi3core.traces import outbox, trace_search, turn_trace, votes
from phi3core.traces.titles import TITLE_LENGTH, default_title
from phi3core.traces.trace_search import NOT_THERE, check_conversation_id, session_filter
from phi3core.traces.turn import Origin, Turn
from phi3core.traces.votes import Better, Pair

from .events import send_event

if TYPE_CHECKING:
    from mlflow.entities import Trace


@dataclass(frozen=True)
class StoredConversation:
    """A conversation as it was read: its turns in the order they were asked, its title and where it came from."""

    id: str
    title: str
    turns: Sequence[Turn]
    origin: Origin | None = None


# ---------------------------------------------------------------- writing


def save(
    settings: Settings,
    id: str,
    turn: Turn,
    messages: Sequence[dict[str, str]],
    origin: Origin | None = None,
    title: str = "",
    sync: bool = True,
) -> None:
    """Keep a turn that has ended; returns once it is safe on this machine's disk. Raises OSError.

    messages: what was sent for it. title: of the conversation, where it is not its first question. sync: as in
    outbox.put.
    """
    outbox.put(settings, _event(id, turn, messages, origin, title), send_event, sync)
    if turn.thumb is not None:
        _rate(settings, id, turn)


def draft(
    settings: Settings, id: str, turn: Turn, messages: Sequence[dict[str, str]], origin: Origin | None, title: str
) -> Path | None:
    """Keep a turn that has only begun, in case this process is killed meanwhile; `outbox.discard` ends it."""
    broken = replace(turn, state="failed", error="The app ended before this answer did. Ask again.")
    return outbox.draft(settings, _event(id, broken, messages, origin, title))


def _event(
    id: str, turn: Turn, messages: Sequence[dict[str, str]], origin: Origin | None, title: str
) -> dict[str, Any]:
    return {
        "kind": "turn",
        "conversation": id,
        "turn": clean(turn.plain()),
        "messages": clean([*messages]),
        "origin": asdict(origin) if origin else None,
        # Each beginning carries one, for it may be the only one; the first in time counts.
        "title": (title or default_title(turn.question)) if not turn.parent else "",
    }


def rate(settings: Settings, id: str, turn: Turn, person: Person | None = None) -> None:
    """Keep the turn's thumb and comment as its assessment; a later one overrides it, None takes it back.

    Raises Forbidden for a viewer.
    """
    roles.require(person or roles.local_person(settings), "reviewer", "rating an answer")
    _rate(settings, id, turn)


def _rate(settings: Settings, id: str, turn: Turn) -> None:
    event = {"kind": "rate", "conversation": id, "turn": turn.id, "thumb": turn.thumb}
    outbox.put(settings, event | {"comment": clean(turn.comment), "user": turn.rated_by or turn.user}, send_event)


def vote(settings: Settings, id: str, event: dict[str, Any]) -> None:
    """Keep a person's vote on an answer of the conversation; the event as in `votes.send_vote`."""
    outbox.put(settings, {"kind": "vote", "conversation": check_conversation_id(id), **clean(event)}, send_event)


def read_votes(settings: Settings, id: str, user: str) -> dict[Pair, Better]:
    """A person's votes on the answers of a conversation: the pair of turns → which is better. Raises StoreDown."""
    pending = _pending_events(settings, id, "vote")  # before the store: what is sent in between is not missed
    found = votes.read_votes(settings, id, user) if settings.tracing else {}
    return _with_pending_votes(found, pending, user)


def unsent_votes(settings: Settings, id: str, user: str) -> dict[Pair, Better]:
    """The same, of what the store has not been sent yet alone."""
    return _with_pending_votes({}, _pending_events(settings, id, "vote"), user)


def _with_pending_votes(found: dict[Pair, Better], pending: Sequence[dict[str, Any]], user: str) -> dict[Pair, Better]:
    for event in pending:
        if event["user"].casefold() == user.casefold():
            votes.apply_event(found, event)
    return found


def rename(settings: Settings, id: str, title: str, person: Person | None = None, begun_by: str = "") -> None:
    """Give a conversation another title. Raises BadInput for an empty one; else as `delete`."""
    named = one_line(title, TITLE_LENGTH)
    if not named:
        raise BadInput("The title is empty: write a few words.")
    require_author(settings, id, person, begun_by, "rename")
    outbox.put(settings, {"kind": "rename", "conversation": check_conversation_id(id), "title": named}, send_event)


def pin(settings: Settings, id: str, pinned: bool, person: Person) -> None:
    """Keep a conversation at the top of a person's list, or no longer. Raises BadInput for an odd id, Forbidden."""
    roles.require(person, "viewer", "pinning a conversation")
    event = {"kind": "pin", "conversation": check_conversation_id(id), "pinned": pinned, "user": person.name}
    outbox.put(settings, event, send_event)


def delete(settings: Settings, id: str, person: Person | None = None, begun_by: str = "") -> None:
    """Remove a conversation with all its turns, for good. Ask before you call it.

    begun_by: its author, where the caller knows; else it is read from the store. Raises Forbidden unless the person is
    its author or an admin; NotFound and StoreDown where its author can't be told.
    """
    require_author(settings, id, person, begun_by, "delete")
    outbox.drop(settings, check_conversation_id(id))
    if settings.tracing:
        outbox.put(settings, {"kind": "delete", "conversation": id}, send_event)


def delete_turn(settings: Settings, id: str, turn: str, person: Person, begun_by: str) -> None:
    """Remove a turn for good that nothing follows and that is not the only one. Raises as `delete`."""
    require_author(settings, id, person, begun_by, "delete from")
    outbox.drop(settings, check_conversation_id(id), turn)
    outbox.put(settings, {"kind": "delete turn", "conversation": id, "turn": turn}, send_event)


def require_author(settings: Settings, id: str, person: Person | None, begun_by: str, act: str) -> None:
    """Raise Forbidden unless the person began the conversation or is an admin. begun_by, raises: as in `delete`."""
    person = person or roles.local_person(settings)
    if person.may("admin"):
        return
    whose = begun_by or find_author(settings, id)
    if not person.may("viewer") or whose.casefold() != person.name.casefold():
        raise Forbidden(
            f"Only {whose or 'an admin'} may {act} this conversation" + (", or an admin." if whose else ".")
        )


# ---------------------------------------------------------------- sending


def start_sending(settings: Settings) -> None:
    """Begin to send what an earlier process could not; for the app, when it starts."""
    outbox.start_sending(settings, send_event)


def count_pending(settings: Settings) -> int:
    """How many turns wait for the store; a rating, a new title and a deletion each count as one too."""
    return outbox.count_pending(settings)


def sending_error(settings: Settings) -> str:
    """Why the last attempt to send failed, as a sentence; empty when nothing is wrong."""
    return outbox.sending_error(settings)


def flush(settings: Settings, seconds: float = 10) -> bool:
    """Wait until everything is sent or an attempt has failed, at most so long; whether everything is sent.

    For programs that are about to exit, and for a button that tries again.
    """
    return outbox.flush(settings, send_event, seconds)


# ---------------------------------------------------------------- reading one


def read(settings: Settings, id: str) -> StoredConversation:
    """A conversation by its id, from the store and from what waits for it. Raises NotFound, BadInput or StoreDown."""
    pending = _Pending.read(settings, id)  # before the store: what is sent in between is not missed
    found: dict[str, Turn] = {}
    title, origin = "", pending.origin
    try:
        for stored, turn in _read_stored(settings, id) if not pending.deleted else ():
            if turn.id in pending.deleted_turns:
                continue
            found[turn.id] = turn
            title = title or stored.info.tags.get(tags.TITLE, "")
            origin = origin or turn_trace.read_origin(stored.info)
    except StoreDown:
        if not any(not turn.parent for turn in pending.turns.values()):
            raise  # else it began while the store was away, and all of it is here
    found |= pending.turns
    for rating in pending.ratings:
        if rated := found.get(rating["turn"]):
            rated.thumb, rated.comment, rated.rated_by = rating["thumb"], rating["comment"], rating["user"]
    if not found:
        raise NotFound(NOT_THERE)
    turns = sorted(found.values(), key=lambda turn: turn.when)
    title = pending.renamed or title or pending.title or default_title(turns[0].question)
    return StoredConversation(id, title, turns, origin)


def find_conversation(settings: Settings, turn: str) -> str:
    """The id of the conversation that a turn belongs to, by the turn's. Raises NotFound or StoreDown."""
    for event in outbox.pending_events(settings):
        if event["kind"] == "turn" and event["turn"]["id"] == turn:
            return str(event["conversation"])
    if settings.tracing and re.fullmatch("[0-9a-f]{32}", turn):
        with contextlib.suppress(BadInput):  # a trace that another program wrote
            return check_conversation_id(trace_search.find_session(settings, f"tr-{turn}"))
    raise NotFound("This turn is not in the store (any more).")


def find_author(settings: Settings, id: str) -> str:
    """Who asked the first question of a conversation. Raises NotFound or StoreDown."""
    asked = [(event["turn"]["when"], event["turn"]["user"]) for event in _pending_events(settings, id, "turn")]
    for info in trace_search.search_infos(settings, session_filter(id), "ASC", 1) if settings.tracing else ():
        asked.append((info.request_time, (info.trace_metadata or {}).get(trace_search.USER, "")))
    if not asked:
        raise NotFound("This conversation is not in the store (any more).")
    return str(min(asked)[1])


def _read_stored(settings: Settings, id: str) -> Iterator[tuple[Trace, Turn]]:
    """The traces of a conversation with the turns in them, oldest first."""
    if not settings.tracing:
        return
    for found in trace_search.search_traces(settings, session_filter(id)):
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):  # a trace that another program wrote
            yield found, turn_trace.read_turn(found)


# ---------------------------------------------------------------- reading what is not sent yet


def _pending_events(settings: Settings, id: str, kind: str = "") -> list[dict[str, Any]]:
    """The events about one conversation that are not sent yet, of one kind or of all. Raises BadInput."""
    check_conversation_id(id)
    events = [event for event in outbox.pending_events(settings) if event["conversation"] == id]
    return [event for event in events if kind in ("", event["kind"])]


@dataclass
class _Pending:
    """What is not sent yet about one conversation."""

    turns: dict[str, Turn] = field(default_factory=dict)
    ratings: Sequence[dict[str, Any]] = ()
    title: str = ""
    renamed: str = ""
    origin: Origin | None = None
    deleted: bool = False
    deleted_turns: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, settings: Settings, id: str) -> _Pending:
        found = cls()
        for event in _pending_events(settings, id):
            match event["kind"]:
                case "turn":
                    turn = Turn.from_plain(event["turn"])
                    found.turns[turn.id] = turn
                    found.title = found.title or event["title"]
                    found.origin = Origin(**event["origin"]) if event["origin"] else found.origin
                case "rate":
                    found.ratings = [*found.ratings, event]
                case "rename":
                    found.renamed = event["title"]
                case "delete":
                    found = cls(deleted=True)
                case "delete turn":
                    found.deleted_turns.add(event["turn"])
        return found
