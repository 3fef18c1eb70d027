"""Conversations in the store: listed, searched, renamed, rated and deleted. What is not sent yet is seen all the same.

A conversation is a session of MLflow traces, a turn is one of them. Nothing here waits for the store in order to
write: outbox.py keeps what is to be written, and sends it in the background. Where tracing is off, all of it happens
in this process's memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Forbidden, NotFound, StoreDown
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors
from phi3core.traces import feedback, outbox
from phi3core.traces import trace as traces
from phi3core.traces.feedback import Better
from phi3core.traces.trace import checked, of_session
from phi3core.traces.turn import Origin, Turn, clean, one_line

from .search import TITLE_LENGTH, Summary, default_title, look

if TYPE_CHECKING:
    from mlflow.entities import Trace


@dataclass(frozen=True)
class Saved:
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
    outbox.put(settings, _event(id, turn, messages, origin, title), _send, sync)
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
    outbox.put(settings, event | {"comment": clean(turn.comment), "user": turn.rated_by or turn.user}, _send)


def vote(settings: Settings, id: str, event: dict[str, Any]) -> None:
    """Keep a person's vote on an answer of the conversation; the event as in review.send_vote."""
    outbox.put(settings, {"kind": "vote", "conversation": checked(id), **clean(event)}, _send)


def votes(settings: Settings, id: str, user: str) -> dict[str, Better]:
    """A person's votes on the answers of a conversation, by the repeated turn's id. Raises StoreDown."""
    waiting = [event for event in outbox.events(settings) if (event["conversation"], event["kind"]) == (id, "vote")]
    found = feedback.votes_in(settings, checked(id), user) if settings.tracing else {}
    for event in waiting:
        if event["user"].casefold() == user.casefold():
            found.pop(event["turn"], None)
            found |= {event["turn"]: event["better"]} if event["better"] else {}
    return found


def rename(settings: Settings, id: str, title: str, person: Person | None = None, begun_by: str = "") -> None:
    """Give a conversation another title. Raises BadInput for an empty one; else as `delete`."""
    named = one_line(title, TITLE_LENGTH)
    if not named:
        raise BadInput("The title is empty: write a few words.")
    require_author(settings, id, person, begun_by, "rename")
    outbox.put(settings, {"kind": "rename", "conversation": checked(id), "title": named}, _send)


def delete(settings: Settings, id: str, person: Person | None = None, begun_by: str = "") -> None:
    """Remove a conversation with all its turns, for good. Ask before you call it.

    begun_by: its author, where the caller knows; else it is looked up. Raises Forbidden unless the person is its
    author or an admin; NotFound and StoreDown where its author can't be told.
    """
    require_author(settings, id, person, begun_by, "delete")
    outbox.drop(settings, checked(id))
    if settings.tracing:
        outbox.put(settings, {"kind": "delete", "conversation": id}, _send)


def require_author(settings: Settings, id: str, person: Person | None, begun_by: str, act: str) -> None:
    """Raise Forbidden unless the person began the conversation or is an admin. begun_by, raises: as in `delete`."""
    person = person or roles.local_person(settings)
    if person.may("admin"):
        return
    whose = begun_by or author(settings, id)
    if not person.may("viewer") or whose.casefold() != person.name.casefold():
        raise Forbidden(
            f"Only {whose or 'an admin'} may {act} this conversation" + (", or an admin." if whose else ".")
        )


# ---------------------------------------------------------------- what waits


def start(settings: Settings) -> None:
    """Begin to send what an earlier process could not; for the app, when it starts."""
    outbox.start(settings, _send)


def pending(settings: Settings) -> int:
    """How many turns wait for the store; a rating, a new title and a deletion each count as one too."""
    return outbox.pending(settings)


def trouble(settings: Settings) -> str:
    """Why the last attempt to send failed, as a sentence; empty when nothing is wrong."""
    return outbox.trouble(settings)


def flush(settings: Settings, seconds: float = 10) -> bool:
    """Wait until everything is sent or an attempt has failed, at most so long; whether everything is sent.

    For programs that are about to exit, and for a button that tries again.
    """
    return outbox.flush(settings, _send, seconds)


def _send(settings: Settings, event: dict[str, Any], again: bool) -> None:
    match event["kind"]:
        case "turn":
            traces.send_turn(settings, event, again)
        case "rate":
            traces.send_rating(settings, event)
        case "vote":
            feedback.send_vote(settings, event)
        case "rename":
            _send_title(settings, event["conversation"], event["title"])
        case "delete":
            _send_deletion(settings, event["conversation"])


def _send_title(settings: Settings, id: str, title: str) -> None:
    first = next(iter(traces.infos(settings, f"{of_session(id)} AND tags.`{tags.TITLE}` IS NOT NULL", "ASC", 1)), None)
    first = first or next(iter(traces.infos(settings, of_session(id), "ASC", 1)), None)
    if first is None:
        raise NotFound("The conversation is not in the store any more.")
    with translate_errors(settings):
        mlflow_client(settings).set_trace_tag(first.trace_id, tags.TITLE, title)


def _send_deletion(settings: Settings, id: str) -> None:
    home = experiment_id(settings, tags.CONVERSATIONS)
    while found := [info.trace_id for info in traces.infos(settings, of_session(id), most=100)]:
        with translate_errors(settings):
            if not mlflow_client(settings).delete_traces(home, trace_ids=found):
                return


# ---------------------------------------------------------------- reading one


def read(settings: Settings, id: str) -> Saved:
    """A conversation by its id, from the store and from what waits for it. Raises NotFound, BadInput or StoreDown."""
    waiting = _Waiting.of(settings, checked(id))  # before the store, so that what is sent in between is not missed
    found: dict[str, Turn] = {}
    title, origin = "", waiting.origin
    try:
        for trace, turn in _stored(settings, id) if not waiting.deleted else ():
            found[turn.id] = turn
            title = title or trace.info.tags.get(tags.TITLE, "")
            origin = origin or traces.origin_of(trace.info)
    except StoreDown:
        if not any(not turn.parent for turn in waiting.turns.values()):
            raise  # else it began while the store was away, and all of it is here
    found |= waiting.turns
    for rating in waiting.ratings:
        if rated := found.get(rating["turn"]):
            rated.thumb, rated.comment, rated.rated_by = rating["thumb"], rating["comment"], rating["user"]
    if not found:
        raise NotFound("This conversation is not in the store (any more). Start a new one.")
    turns = sorted(found.values(), key=lambda turn: turn.when)
    return Saved(id, waiting.renamed or title or waiting.title or default_title(turns[0].question), turns, origin)


def author(settings: Settings, id: str) -> str:
    """Who asked the first question of a conversation. Raises NotFound or StoreDown."""
    waiting = [e["turn"] for e in outbox.events(settings) if (e["kind"], e["conversation"]) == ("turn", checked(id))]
    asked = [(turn["when"], turn["user"]) for turn in waiting]
    for info in traces.infos(settings, of_session(id), "ASC", 1) if settings.tracing else ():
        asked.append((info.request_time, (info.trace_metadata or {}).get(traces.USER, "")))
    if not asked:
        raise NotFound("This conversation is not in the store (any more).")
    return str(min(asked)[1])


def _stored(settings: Settings, id: str) -> Iterator[tuple[Trace, Turn]]:
    """The traces of a conversation with the turns in them, oldest first."""
    if not settings.tracing:
        return
    places: dict[int, str] = {}
    for trace in traces.search(settings, of_session(id)):
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):  # somebody else's trace
            turn = traces.turn_of(trace)
            at = trace.info.tags.get("phi3.position", "")
            if at.isdigit():  # from when conversations were lists: an answer asked for again had the same position
                turn.parent, places[int(at)] = places.get(int(at) - 1, ""), turn.id
            yield trace, turn


# ---------------------------------------------------------------- many


def search(settings: Settings, text: str = "", limit: int = 50, waiting: bool = False) -> Sequence[Summary]:
    """What `look` finds, however long it takes. Raises StoreDown where the store does not answer."""
    return look(settings, text, limit, waiting).rows


# ---------------------------------------------------------------- inside


@dataclass
class _Waiting:
    """What waits for the store about one conversation."""

    turns: dict[str, Turn] = field(default_factory=dict)
    ratings: Sequence[dict[str, Any]] = ()
    title: str = ""
    renamed: str = ""
    origin: Origin | None = None
    deleted: bool = False

    @classmethod
    def of(cls, settings: Settings, id: str) -> _Waiting:
        found = cls()
        for event in outbox.events(settings):
            if event["conversation"] != id:
                continue
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
        return found
