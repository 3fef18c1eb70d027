"""Which conversations a list shows, besides those that hold a text: as the store's filter, and as a check in memory.

The store narrows down, and may find too much; what `meets` says counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.traces import thumbs, trace_search, turn_trace
from phi3core.traces.votes import as_pattern

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

RATINGS = {"up": True, "down": False, "none": None}
BEGUN_HERE = "new"


@dataclass(frozen=True)
class TurnFacts:
    """What a filter looks at. when: in milliseconds since 1970. origin: its kind; empty where it was begun here."""

    ref: str
    user: str
    when: int
    thumb: bool | None
    origin: str


@dataclass(frozen=True)
class ConversationFilter:
    """What at least one turn of a conversation must be; what is empty may be anything.

    ref: the version or endpoint that answered; a model's name stands for all its versions. user: who asked, in any
    case. rating: a name in RATINGS. since, until: when it was asked, in milliseconds since 1970, before `until`.
    origin: the kind of the conversation's origin, or BEGUN_HERE. pinned_by: somebody who has pinned the conversation.
    author: who began the conversation, which is not a turn's either.
    """

    ref: str = ""
    user: str = ""
    rating: str = ""
    since: int = 0
    until: int = 0
    origin: str = ""
    pinned_by: str = ""
    author: str = ""

    def __bool__(self) -> bool:
        return self != ConversationFilter()

    @property
    def where(self) -> str:
        """A filter of MLflow's for traces that finds at least every turn that meets this; may be empty."""
        clauses = []
        if self.ref:
            clauses.append(f"tags.`{tags.VERSION}` LIKE '{as_pattern(self.ref)}{'' if _is_whole(self.ref) else '/%'}'")
        if self.user:
            clauses.append(f"metadata.`{trace_search.USER}` ILIKE '{as_pattern(self.user)}'")
        if self.rating in ("up", "down"):
            clauses.append(f"feedback.{tags.THUMB} IS NOT NULL")
        if self.since:
            clauses.append(f"trace.timestamp_ms >= {self.since}")
        if self.until:
            clauses.append(f"trace.timestamp_ms < {self.until}")
        if self.origin and self.origin != BEGUN_HERE:
            clauses.append(f"metadata.`{tags.ORIGIN}` LIKE '%{as_pattern(self.origin)}%'")
        if self.pinned_by:
            clauses.append(f"tags.`{pin_tag(self.pinned_by)}` = '1'")
        return " AND ".join(clauses)

    def meets(self, turn: TurnFacts) -> bool:
        """Whether a turn is what is wanted, but for pins, which are the conversation's."""
        return (
            (not self.ref or turn.ref == self.ref or (not _is_whole(self.ref) and turn.ref.startswith(f"{self.ref}/")))
            and (not self.user or turn.user.casefold() == self.user.casefold())
            and (not self.rating or turn.thumb is RATINGS[self.rating])
            and (turn.when >= self.since)
            and (not self.until or turn.when < self.until)
            and (not self.origin or (turn.origin or BEGUN_HERE) == self.origin)
        )


def facts_of_trace(info: TraceInfo) -> TurnFacts:
    """The facts of a turn in the store."""
    thumb = next((bool(given.value) for given in reversed(thumbs.valid_thumbs(info))), None)
    origin, user = turn_trace.read_origin(info), (info.trace_metadata or {}).get(trace_search.USER, "")
    return TurnFacts(info.tags.get(tags.VERSION, ""), user, info.request_time, thumb, origin.kind if origin else "")


def facts_of_event(event: dict[str, Any]) -> TurnFacts:
    """The facts of a turn that waits for the store."""
    turn, origin = event["turn"], event["origin"] or {}
    return TurnFacts(turn["ref"], turn["user"], turn["when"], turn["thumb"], str(origin.get("kind", "")))


def pin_tag(user: str) -> str:
    """The tag by which a conversation is pinned for one person; names hold what a tag's name may not."""
    return f"{tags.PINNED}.{sha256(user.casefold().encode()).hexdigest()[:16]}"


def _is_whole(ref: str) -> bool:
    """Whether it names one version or endpoint, and not a model."""
    return "/" in ref or ref.startswith("endpoint:")
