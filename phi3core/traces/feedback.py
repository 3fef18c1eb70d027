"""What people said about a version: thumbs with comments, and votes on which of two answers is better.

Both are assessments of traces, visible in MLflow. Only what is evidence counts (evidence.py).
Knows nothing of live conversations or of how an answer came about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from phi3core import tags
from phi3core.access.privacy import may_read
from phi3core.access.roles import Person
from phi3core.clean_text import one_line
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import trace_search
from .evidence import is_evidence
from .thumbs import valid_thumbs
from .titles import read_given_titles
from .trace_search import MODEL_ID, SESSION, USER
from .votes import Score, Vote, as_pattern, count_score, counted_votes, is_same_model, person_of, search_votes, votes_of

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

_MOST_CONVERSATIONS = 20  # that are named


@dataclass(frozen=True)
class Comment:
    """What a person wrote with a thumb. conversation: its id. when: milliseconds since 1970."""

    user: str
    text: str
    up: bool
    conversation: str
    when: int


@dataclass(frozen=True)
class AnsweredConversation:
    """A conversation in which a version answered: its id, and the last question that the version was asked there.

    title: the one that a person gave it; empty where none did. when: milliseconds since 1970.
    """

    conversation: str
    question: str
    user: str
    when: int
    title: str = ""


@dataclass(frozen=True)
class Reviews:
    """All that people said about a version. up, down: answers with that thumb.

    conversations: how many it answered in; latest_conversations: the newest of them, newest first.
    """

    version: Version = field(repr=False)
    up: int
    down: int
    comments: tuple[Comment, ...]
    conversations: int
    votes: tuple[Vote, ...]
    people: tuple[str, ...]
    latest_conversations: tuple[AnsweredConversation, ...] = ()

    @property
    def given(self) -> int:
        """How many thumbs and votes there are."""
        return self.up + self.down + len(self.votes)

    @property
    def reviewers(self) -> int:
        """How many people gave them."""
        return len(self.people)

    @property
    def score(self) -> Score:
        """Against every other version together."""
        return count_score(self.version, self.votes)

    @property
    def votes_won(self) -> int:
        return self.score.won

    @property
    def votes_lost(self) -> int:
        return self.score.lost

    @property
    def ties(self) -> int:
        return self.score.ties

    @property
    def bad(self) -> int:
        """Votes that called its answer and the other one bad."""
        return self.score.bad

    def against(self, other: Version) -> Score:
        """Against one other version."""
        return count_score(self.version, (vote for vote in self.votes if vote.between(self.version, other)))


def read_reviews(
    settings: Settings, version: Version, conversations: bool = True, reader: Person | None = None
) -> Reviews:
    """Read what people said about a version, newest comment first.

    It takes three calls of the store, and one more for every 500 answers.

    Args:
        conversations: count those too; without, it is two calls for every 500 judged answers.
        reader: who looks; where conversations are private, only what this person may read is told, and all is counted.
            By default the user of this machine.

    Raises:
        StoreDown: the store does not answer.
    """
    where = f"tags.`{tags.VERSION}` {_equals(one_line(version.ref, 250))}"
    judged = f"{where} AND feedback.{tags.THUMB} IS NOT NULL"
    answered: dict[str, AnsweredConversation] = {}
    thumbs: list[Comment] = []
    private: dict[str, bool] = {}  # by conversation
    for info in trace_search.search_infos(settings, where if conversations else judged, "DESC"):
        model_id = str((info.trace_metadata or {}).get(MODEL_ID, ""))
        if info.tags.get(tags.VERSION) != one_line(version.ref, 250) or not is_same_model(model_id, version):
            continue
        if not is_evidence(info):
            continue
        session, user = (info.trace_metadata.get(name, "") for name in (SESSION, USER))
        if session:
            question = info.request_preview or "…"
            answered.setdefault(session, AnsweredConversation(session, question, user, info.request_time))
            private[session] = not may_read(settings, user, reader)
        thumbs += _thumbs(info)
    votes = search_votes(settings, version)
    told = [talk for talk in answered.values() if not private[talk.conversation]]
    latest = tuple(islice(told, _MOST_CONVERSATIONS)) if conversations else ()
    commented = [thumb for thumb in thumbs if thumb.text and not private.get(thumb.conversation)]
    titles = read_given_titles(settings, [talk.conversation for talk in latest])
    return Reviews(
        version,
        up=sum(thumb.up for thumb in thumbs),
        down=sum(not thumb.up for thumb in thumbs),
        comments=tuple(sorted(commented, key=lambda thumb: -thumb.when)),
        conversations=len(answered) if conversations else 0,
        votes=tuple(votes),
        people=_people([thumb.user for thumb in thumbs] + [vote.user for vote in votes]),
        latest_conversations=tuple(replace(talk, title=titles.get(talk.conversation, "")) for talk in latest),
    )


def count_reviews(settings: Settings, most: int = 5000) -> dict[str, int]:
    """How often people judged each version, by reference: thumbs and votes on its answers, in two calls for every 500.

    By references alone, which is enough for a list; `read_reviews` tells a version from an earlier one of its number.

    Args:
        most: of the newest judged answers.
    """
    found: Counter[str] = Counter()
    for info in trace_search.search_infos(settings, f"feedback.{tags.THUMB} IS NOT NULL", "DESC", most):
        if is_evidence(info):
            found[info.tags.get(tags.VERSION, "")] += len(_thumbs(info))
    voted = trace_search.search_infos(settings, f"feedback.{tags.VOTE} IS NOT NULL", "DESC", most)
    for vote in counted_votes(vote for info in voted if is_evidence(info) for vote in votes_of(info)):
        found.update({vote.new.ref, vote.old.ref})
    return {ref: count for ref, count in found.items() if ref and count}


def _people(names: Iterable[str]) -> tuple[str, ...]:
    """Each person once: an address in other letters is the same one's."""
    return tuple(sorted({name.casefold(): name for name in names}.values()))


def _thumbs(info: TraceInfo) -> list[Comment]:
    """Each person's latest thumb that no later one overrides; its text may be empty."""
    found: dict[str, Comment] = {}
    for given in valid_thumbs(info):
        user = person_of(given)
        if user and isinstance(given.value, bool):
            session, text = info.trace_metadata.get(SESSION, ""), given.rationale or ""
            found[user.casefold()] = Comment(user, text, given.value, session, given.create_time_ms or 0)
    return [*found.values()]


def _equals(text: str) -> str:
    return f"= '{text}'" if "'" not in text and "\\" not in text else f"LIKE '{as_pattern(text)}'"
