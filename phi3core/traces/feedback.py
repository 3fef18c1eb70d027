"""What people said about a version: thumbs with comments, and votes on which of two answers is better.

Both are assessments on traces, visible in MLflow. Only what people gave counts, not what a judge or a script gave. A
vote stands on the trace of the answer that repeats a recorded one, and names both versions. One's latest vote on a
pair of answers counts. Knows nothing of live conversations or of how an answer came about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from phi3core import tags
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import translate_errors

from . import trace
from .turn import one_line, without_control

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

_TALKS = 20  # conversations that are named

Better = Literal["new", "old", "tie"]
"""Which of two answers to the same question is better: the repeated one, the recorded one, or neither."""


@dataclass(frozen=True)
class Comment:
    """What somebody wrote with a thumb. conversation: its id. when: milliseconds since 1970."""

    user: str
    text: str
    up: bool
    conversation: str
    when: int


@dataclass(frozen=True)
class Talk:
    """A conversation in which a version answered: its id, and the last question that the version was asked there.

    when: milliseconds since 1970.
    """

    conversation: str
    question: str
    user: str
    when: int


@dataclass(frozen=True)
class Side:
    """One of the two answers of a vote: its version, MLflow's id of that version's logged model, and its turn."""

    ref: str
    model_id: str
    turn: str

    def is_of(self, version: Version) -> bool:
        """Whether the version gave it: a number can be given again after a deletion, the logged model's id cannot."""
        return self.ref == version.ref and _same_model(self.model_id, version)


@dataclass(frozen=True)
class Vote:
    """A person's latest word on two answers to the same question."""

    user: str
    better: Better
    new: Side
    old: Side
    when: int
    id: str = ""

    def won_by(self, version: Version) -> bool | None:
        """Whether the version's answer was the better one; None for a tie."""
        if self.better == "tie":
            return None
        return (self.new if self.better == "new" else self.old).is_of(version)

    def between(self, one: Version, other: Version) -> bool:
        """Whether one of the answers is the one version's and the other one the other's."""
        return any(a.is_of(one) and b.is_of(other) for a, b in ((self.new, self.old), (self.old, self.new)))


@dataclass(frozen=True)
class Score:
    """How a version did in votes; `rate` leaves ties out."""

    won: int = 0
    lost: int = 0
    ties: int = 0

    @property
    def rate(self) -> float | None:
        """Wins of all votes that somebody won, 0 to 1; None where there are none."""
        decided = self.won + self.lost
        return self.won / decided if decided else None


@dataclass(frozen=True)
class Reviews:
    """All that people said about a version. up, down: answers with that thumb.

    conversations: how many it answered in; talks: the newest of them, newest first.
    """

    version: Version = field(repr=False)
    up: int
    down: int
    comments: tuple[Comment, ...]
    conversations: int
    votes: tuple[Vote, ...]
    people: tuple[str, ...]
    talks: tuple[Talk, ...] = ()

    @property
    def given(self) -> int:
        """How many times somebody judged: thumbs and votes."""
        return self.up + self.down + len(self.votes)

    @property
    def score(self) -> Score:
        """Against every other version together."""
        return _score(self.version, self.votes)

    @property
    def votes_won(self) -> int:
        return self.score.won

    @property
    def votes_lost(self) -> int:
        return self.score.lost

    @property
    def ties(self) -> int:
        return self.score.ties

    def against(self, other: Version) -> Score:
        """Against one other version."""
        return _score(self.version, (vote for vote in self.votes if vote.between(self.version, other)))


def of_version(settings: Settings, version: Version, conversations: bool = True) -> Reviews:
    """What people said about a version, newest comment first: two calls of the store, one more for every 500 answers.

    conversations: count those too; without, it is two calls for every 500 judged answers. Raises StoreDown.
    """
    where = f"tags.`{tags.VERSION}` {_is(one_line(version.ref, 250))}"
    judged = f"{where} AND feedback.{tags.THUMB} IS NOT NULL"
    talks: dict[str, Talk] = {}
    thumbs: list[tuple[str, bool, Comment]] = []
    for info in trace.infos(settings, where if conversations else judged, "DESC"):
        if info.tags.get(tags.VERSION) != one_line(version.ref, 250) or not _same_model(_model_of(info), version):
            continue
        session, user = (info.trace_metadata.get(name, "") for name in (trace.SESSION, trace.USER))
        if session:
            talks.setdefault(session, Talk(session, info.request_preview or "…", user, info.request_time))
        thumbs += _thumbs(info)
    votes = _votes_on(settings, version)
    people = {user for user, _, _ in thumbs} | {vote.user for vote in votes}
    return Reviews(
        version,
        up=sum(up for _, up, _ in thumbs),
        down=sum(not up for _, up, _ in thumbs),
        comments=tuple(sorted((c for _, _, c in thumbs if c.text), key=lambda comment: -comment.when)),
        conversations=len(talks) if conversations else 0,
        votes=tuple(votes),
        people=tuple(sorted(people)),
        talks=tuple(islice(talks.values(), _TALKS)) if conversations else (),
    )


def counts(settings: Settings, most: int = 5000) -> dict[str, int]:
    """How often people judged each version, by reference: thumbs and votes on its answers, in two calls for every 500.

    most: of the newest judged answers, that are looked at. By references alone, for a list; `of_version` knows more.
    """
    found: Counter[str] = Counter()
    for info in trace.infos(settings, f"feedback.{tags.THUMB} IS NOT NULL", "DESC", most):
        found[info.tags.get(tags.VERSION, "")] += len(_thumbs(info))
    votes = trace.infos(settings, f"feedback.{tags.VOTE} IS NOT NULL", "DESC", most)
    for vote in _latest(vote for info in votes for vote in _votes(info)):
        found.update({vote.new.ref, vote.old.ref})
    return {ref: count for ref, count in found.items() if ref and count}


def votes_in(settings: Settings, conversation: str, user: str) -> dict[str, Better]:
    """A person's standing votes on the answers of a conversation: the repeated turn's id → which is better."""
    found = trace.infos(settings, f"{trace.of_session(conversation)} AND feedback.{tags.VOTE} IS NOT NULL")
    votes = (vote for info in found for vote in _votes(info))
    return {vote.new.turn: vote.better for vote in _latest(votes) if _same_person(vote.user, user)}


def _votes_on(settings: Settings, version: Version) -> list[Vote]:
    """The standing votes in which the version takes part, on whichever trace they stand."""
    found = trace.infos(settings, f"feedback.{tags.VOTE} LIKE '%{_pattern(version.ref)}%'")
    votes = (vote for info in found for vote in _votes(info))
    return [vote for vote in _latest(votes) if vote.new.is_of(version) or vote.old.is_of(version)]


def _score(version: Version, votes: Iterable[Vote]) -> Score:
    outcomes = [vote.won_by(version) for vote in votes]
    return Score(outcomes.count(True), outcomes.count(False), outcomes.count(None))


# ---------------------------------------------------------------- what a trace holds


def _thumbs(info: TraceInfo) -> list[tuple[str, bool, Comment]]:
    """Each person's latest thumb that no later one overrides."""
    found: dict[str, tuple[str, bool, Comment]] = {}
    for given in trace.valid_thumbs(info):
        user = _person(given)
        if user and isinstance(given.value, bool):
            session, text = info.trace_metadata.get(trace.SESSION, ""), given.rationale or ""
            comment = Comment(user, text, given.value, session, given.create_time_ms or 0)
            found[user.casefold()] = user, given.value, comment
    return [*found.values()]


def _votes(info: TraceInfo) -> list[Vote]:
    found = []
    for given in info.assessments or []:
        told = getattr(given, "metadata", None) or {}
        user, better = _person(given), told.get(tags.BETTER)
        if given.name != tags.VOTE or given.valid is False or not user or better not in ("new", "old", "tie"):
            continue
        new = Side(told.get(tags.NEW, ""), told.get(tags.NEW_MODEL, ""), info.trace_id.removeprefix("tr-"))
        old = Side(told.get(tags.OLD, ""), told.get(tags.OLD_MODEL, ""), told.get(tags.OLD_TURN, ""))
        found.append(Vote(user, better, new, old, given.create_time_ms or 0, str(given.assessment_id)))
    return found


def _latest(votes: Iterable[Vote]) -> list[Vote]:
    """The latest of each person on each pair of answers."""
    found: dict[tuple[str, str, str], Vote] = {}
    for vote in sorted(votes, key=lambda vote: vote.when):
        found[vote.user.casefold(), vote.new.turn, vote.old.turn] = vote
    return [*found.values()]


def _person(assessment: Any) -> str:
    """Who gave an assessment; empty where nobody did, but a judge or a script."""
    source = assessment.source
    return str(source.source_id or "") if source is not None and source.source_type == "HUMAN" else ""


def _same_person(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _model_of(info: TraceInfo) -> str:
    return str((info.trace_metadata or {}).get(trace.MODEL_ID, ""))


def _same_model(model_id: str, version: Version) -> bool:
    """Whether the logged model is the version's; where either is not known, it may be."""
    own = version.source.removeprefix("models:/") if version.source.startswith("models:/m-") else ""
    return not own or not model_id or own == model_id


# ---------------------------------------------------------------- filters

# MLflow's filters know no escape, and what is compared may be JSON: whatever could be read otherwise matches anything.


def _pattern(text: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "/.-@ ") else "%" for letter in text)


def _is(text: str) -> str:
    return f"= '{text}'" if "'" not in text and "\\" not in text else f"LIKE '{_pattern(text)}'"


# ---------------------------------------------------------------- voting


def send_vote(settings: Settings, event: dict[str, Any]) -> None:
    """Make a person's vote on a pair of answers what the event says; None takes it back.

    The event: turn, better, user, new and old (ref, model_id, turn each). Raises NotFound when the trace is gone.
    """
    from mlflow.entities import AssessmentSource, Feedback

    tracing, trace_id = trace.tracer(settings), f"tr-{event['turn']}"
    new, old, better = Side(**event["new"]), Side(**event["old"]), event["better"]
    user = one_line(event["user"], 250) or "unknown"
    with translate_errors(settings):
        given = [v for v in _votes(tracing.get_trace_info(trace_id)) if v.old.turn == old.turn]
        own = sorted((v for v in given if _same_person(v.user, user)), key=lambda vote: vote.when)
        if better is None:
            while own:  # deleting one brings back the one that it overrode
                tracing.delete_assessment(trace_id, own[-1].id)
                given = [v for v in _votes(tracing.get_trace_info(trace_id)) if v.old.turn == old.turn]
                own = [v for v in given if _same_person(v.user, user)]
            return
        if own and own[-1].better == better:
            return
        won, lost = (new, old) if better != "old" else (old, new)
        told = {
            tags.BETTER: better,
            tags.NEW: new.ref, tags.NEW_MODEL: new.model_id,
            tags.OLD: old.ref, tags.OLD_MODEL: old.model_id, tags.OLD_TURN: old.turn,
        }  # fmt: skip
        feedback = Feedback(
            name=tags.VOTE,
            value=f"{won.ref} {'=' if better == 'tie' else '>'} {lost.ref}",  # what is searched for, and read in MLflow
            source=AssessmentSource(source_type="HUMAN", source_id=user),
            rationale=without_control(event.get("comment", "")) or None,
            metadata={name: value for name, value in told.items() if value},
            overrides=own[-1].id if own else None,
        )
        tracing.log_assessment(trace_id, feedback)
