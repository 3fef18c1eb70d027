"""The list of conversations: the newest, or those that hold a text, in few calls of the store.

A conversation has no row of its own in the store: it is what its traces have in common.
"""

from __future__ import annotations

import contextlib
import math
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.access.privacy import reads_all
from phi3core.access.roles import Person, local_person
from phi3core.clean_text import clean
from phi3core.settings import Settings
from phi3core.traces import outbox, trace_search, turn_trace
from phi3core.traces.titles import default_title
from phi3core.traces.turn import Origin

from .conversation_filter import ConversationFilter, TurnFacts, facts_of_event, facts_of_trace, pin_tag

if TYPE_CHECKING:
    from mlflow.entities import Trace, TraceInfo

ANY = ConversationFilter()
_PAGE = 500  # traces after which their conversations are counted, and the time is checked
_READ = 100  # the same where traces are read whole
_OURS = f"metadata.`{trace_search.SESSION}` LIKE '%' AND tags.`{tags.VERSION}` LIKE '%'"


@dataclass(frozen=True)
class ConversationSummary:
    """A conversation in a list. when: its last turn, in milliseconds since 1970. ref, user: of its last turn.

    author: who asked its first question. turns: of the whole tree. pending: how many of them wait for the store. pins:
    the tags of those who have pinned it.
    """

    id: str
    title: str
    when: int
    turns: int
    ref: str
    user: str
    origin: Origin | None = None
    pending: int = 0
    author: str = ""
    pins: frozenset[str] = frozenset()

    def pinned_by(self, user: str) -> bool:
        """Whether a person has pinned it."""
        return pin_tag(user) in self.pins


@dataclass(frozen=True)
class SearchResult:
    """Conversations, newest first.

    since: those from before this time were not searched, because `seconds` were over; in milliseconds since 1970, 0
    where all were.
    """

    conversations: Sequence[ConversationSummary]
    since: int = 0


def search_conversations(
    settings: Settings,
    text: str = "",
    limit: int = 50,
    pending_only: bool = False,
    seconds: float = math.inf,
    wanted: ConversationFilter = ANY,
    reader: Person | None = None,
) -> SearchResult:
    """Find conversations, the newest first.

    Args:
        text: only those in whose title, questions or answers it occurs, in any case.
        pending_only: only those of which something waits for the store, which is not asked then.
        seconds: about how long to go back in the store.
        wanted: only those that meet this.
        reader: who looks; where conversations are private, only those that this person may read are found. By default
            the user of this machine.

    Raises:
        StoreDown: the store does not answer.
    """
    if not reads_all(settings, reader):
        own = (reader or local_person(settings)).name
        if wanted.user.casefold() not in ("", own.casefold()):
            return SearchResult([])  # what another has asked is in conversations of theirs
        wanted = replace(wanted, user=own, author=own)
    events = outbox.pending_events(settings)
    stored: dict[str, _Row] = {}
    since = 0
    if settings.tracing and not pending_only:
        ids = {event["conversation"] for event in events}
        stored, since = _stored_rows(settings, text.strip(), wanted, limit, ids, time.monotonic() + seconds)
    return SearchResult(_merge(settings, stored, events, text.strip(), wanted)[:limit], since)


@dataclass
class _Row:
    """A conversation in a list as its traces add up. turns: by their ids. question: its first, asked at `began`."""

    id: str
    title: str = ""
    titled: int = 0
    question: str = ""
    began: int = 0
    when: int = 0
    ref: str = ""
    user: str = ""
    author: str = ""
    turns: dict[str, TurnFacts] = field(default_factory=dict)
    origin: Origin | None = None
    pending: int = 0
    pins: set[str] = field(default_factory=set)
    matches: bool = False

    def add(self, id: str, title: str, question: str, turn: TurnFacts) -> None:
        when, ref, user = turn.when, turn.ref, turn.user
        if not self.turns or when < self.began:
            self.question, self.began, self.author = question, when, user
        if title and (not self.title or when < self.titled):
            self.title, self.titled = title, when
        if when >= self.when:
            self.when, self.ref, self.user = when, ref, user
        self.turns[id] = turn

    def meets(self, wanted: ConversationFilter) -> bool:
        if wanted.pinned_by and pin_tag(wanted.pinned_by) not in self.pins:
            return False
        if wanted.author and wanted.author.casefold() != self.author.casefold():
            return False
        return any(wanted.meets(turn) for turn in self.turns.values())

    def summary(self) -> ConversationSummary:
        title = self.title or default_title(self.question)
        return ConversationSummary(
            self.id, title, self.when, len(self.turns), self.ref, self.user, self.origin, self.pending, self.author,
            frozenset(self.pins),
        )  # fmt: skip


def _stored_rows(
    settings: Settings, text: str, wanted: ConversationFilter, limit: int, pending: set[str], deadline: float
) -> tuple[dict[str, _Row], int]:
    """The newest conversations of the store, and those with pending events, by id; and `SearchResult.since`."""
    most = limit + len(pending)  # some of them may be deleted
    complete: dict[str, TraceInfo] | None = None
    if text:
        sessions, since = _matching_sessions(settings, text, wanted, most, deadline)
    elif wanted:
        turns = trace_search.search_infos(settings, wanted.where or _OURS, "DESC", sys.maxsize)
        met = ((info, wanted.meets(facts_of_trace(info))) for info in turns)
        sessions, since = _first(met, most, deadline, _PAGE)
    else:
        sessions, since, complete = _newest_sessions(settings, most, deadline)
    rows: dict[str, _Row] = {}
    for info in trace_search.search_sessions(settings, sessions | pending) if complete is None else complete.values():
        id = info.trace_metadata[trace_search.SESSION]
        if tags.VERSION not in info.tags:
            continue  # a trace that another program wrote
        row = rows.setdefault(id, _Row(id, matches=id in sessions))
        row.add(info.trace_id[3:], info.tags.get(tags.TITLE, ""), info.request_preview or "", facts_of_trace(info))
        row.pins |= {name for name in info.tags if name.startswith(f"{tags.PINNED}.")}
        row.origin = row.origin or turn_trace.read_origin(info)
    return rows, since


def _newest_sessions(
    settings: Settings, limit: int, deadline: float
) -> tuple[set[str], int, dict[str, TraceInfo] | None]:
    """The ids of the newest conversations, `SearchResult.since`, and all traces by their ids where all were read."""
    found: dict[str, TraceInfo] = {}
    sessions: dict[str, None] = {}  # in order
    for count, info in enumerate(trace_search.search_infos(settings, _OURS, "DESC", sys.maxsize), start=1):
        found[info.trace_id] = info
        sessions[info.trace_metadata[trace_search.SESSION]] = None
        if count % _PAGE == 0 and len(sessions) > limit:
            return {*[*sessions][:limit]}, 0, None
        if count % _PAGE == 0 and time.monotonic() > deadline:
            return {*sessions}, info.request_time, None
    return {*sessions}, 0, found


def _matching_sessions(
    settings: Settings, text: str, wanted: ConversationFilter, limit: int, deadline: float
) -> tuple[set[str], int]:
    """The ids of the newest conversations that hold the text, and `SearchResult.since`.

    A turn has in its text what was said before it, so that the one that is wanted holds the text too; a title is the
    first turn's, so that all are taken, and what else is wanted is looked for when their turns are known.
    """
    pattern, also = _pattern(text), f" AND {wanted.where}" if wanted.where else ""
    titled = (
        (info, _within(text, info.tags.get(tags.TITLE, "")))
        for info in trace_search.search_infos(settings, f"tags.`{tags.TITLE}` ILIKE '{pattern}'", "DESC", sys.maxsize)
    )
    # The store searches whole traces, names of fields and all: what it finds is searched again here.
    matching = (
        (found.info, wanted.meets(facts_of_trace(found.info)) and _holds(text, found))
        for found in trace_search.search_traces(
            settings, f"trace.text ILIKE '{pattern}'{also}", "DESC", sys.maxsize, page=_READ
        )
    )
    by_title, titles_since = _first(titled, sys.maxsize if wanted else limit, deadline, _PAGE)
    by_text, texts_since = _first(matching, limit, deadline, _READ)
    return by_title | by_text, max(titles_since, texts_since)


def _first(
    candidates: Iterable[tuple[TraceInfo, bool]], limit: int, deadline: float, page: int
) -> tuple[set[str], int]:
    """The conversations of the first candidates that match, and when the last one was asked that there was time for."""
    found: set[str] = set()
    for count, (info, matches) in enumerate(candidates, start=1):
        if matches and (session := info.trace_metadata.get(trace_search.SESSION)):
            found.add(session)
        if len(found) >= limit:
            break
        if count % page == 0 and time.monotonic() > deadline:
            return found, info.request_time
    return found, 0


def _pattern(text: str) -> str:
    """An ILIKE pattern that matches at least every trace that holds the text.

    MLflow's filters know no escape, a trace's text is JSON within JSON, and SQLite's ILIKE knows the case of ASCII
    only: what one of them could get wrong becomes a wildcard, “ss” too, which may be an “ß”.
    """
    letters = re.sub("ss", "%", clean(text), flags=re.IGNORECASE)
    return re.sub("%+", "%", "".join(["%", *(letter if _safe(letter) else "%" for letter in letters), "%"]))


def _safe(letter: str) -> bool:
    if letter.isascii():
        return letter.isalnum() or letter == " "
    return letter.isalpha() and letter.lower() == letter.upper()


def _within(text: str, *where: str) -> bool:
    return any(text.casefold() in place.casefold() for place in where)


def _holds(text: str, found: Trace) -> bool:
    """Whether the text occurs in what was said in a turn or before it."""
    with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):
        turn = turn_trace.read_turn(found)
        asked = found.data.spans[0].inputs or {}
        before = [m["content"] for m in asked.get("messages", []) if m["role"] != "system"]
        return _within(text, turn.question, turn.answer, *before)
    return False


def _merge(
    settings: Settings, rows: dict[str, _Row], events: Sequence[dict[str, Any]], text: str, wanted: ConversationFilter
) -> Sequence[ConversationSummary]:
    """The rows of the store with the events that wait for it, newest first."""
    for event in events:
        id = event["conversation"]
        if event["kind"] == "delete":
            rows.pop(id, None)
        elif event["kind"] == "turn":
            turn = event["turn"]
            row = rows.setdefault(id, _Row(id))
            row.add(turn["id"], event["title"], turn["question"], facts_of_event(event))
            row.origin = row.origin or (Origin(**event["origin"]) if event["origin"] else None)
            row.pending += settings.tracing
            row.matches = row.matches or _within(text, turn["question"], turn["answer"])
        elif event["kind"] == "delete turn" and id in rows:
            rows[id].turns.pop(event["turn"], None)
        elif event["kind"] == "rename" and id in rows:
            rows[id].title, rows[id].titled = event["title"], -1
        elif event["kind"] == "pin" and id in rows:
            (rows[id].pins.add if event["pinned"] else rows[id].pins.discard)(pin_tag(event["user"]))
        elif event["kind"] == "rate" and id in rows and event["turn"] in rows[id].turns:
            turns = rows[id].turns
            turns[event["turn"]] = replace(turns[event["turn"]], thumb=event["thumb"])
    found = [row for row in rows.values() if row.meets(wanted) and (row.matches or _within(text, row.title))]
    return [row.summary() for row in sorted(found, key=lambda row: row.when, reverse=True)]
