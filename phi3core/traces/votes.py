"""Votes: which of two answers to the same question is better, as an assessment of one answer's trace.

The assessment names both answers with their versions. A person's latest vote on a pair of answers counts, and where
votes are cast blind there is one: who has voted knows whose answers they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from phi3core import tags
from phi3core.clean_text import one_line, without_control
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import translate_errors

from . import trace_search
from .evidence import is_evidence

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

Better = Literal["new", "old", "tie", "bad", "seen"]
"""Which of two answers to the same question is better: the one whose trace has the vote, the other one, or neither,
because they are as good as each other (``tie``) or no good (``bad``).

``seen`` is no vote: the person looked whose answers they are, and has none any more.
"""
Pair = tuple[str, str]
"""The ids of two turns, the one whose trace has the vote first."""


_BETTER: Mapping[str, Better] = {better: better for better in get_args(Better)}
_SIGNS: Mapping[Better, str] = {"tie": "=", "bad": "≠", "seen": "?"}


@dataclass(frozen=True)
class VotedAnswer:
    """One of the two answers of a vote: its version, MLflow's id of that version's logged model, and its turn."""

    ref: str
    model_id: str
    turn: str

    def is_of(self, version: Version) -> bool:
        """Whether the version gave it: a number can be given again after a deletion, the logged model's id cannot."""
        return self.ref == version.ref and is_same_model(self.model_id, version)


@dataclass(frozen=True)
class Vote:
    """A person's latest word on two answers. when: milliseconds since 1970. id: the assessment's."""

    user: str
    better: Better
    new: VotedAnswer
    old: VotedAnswer
    when: int
    id: str = ""

    @property
    def pair(self) -> Pair:
        return self.new.turn, self.old.turn

    def won_by(self, version: Version) -> bool | None:
        """Whether the version's answer was the better one; None where neither was."""
        if self.better not in ("new", "old"):
            return None
        return (self.new if self.better == "new" else self.old).is_of(version)

    def between(self, one: Version, other: Version) -> bool:
        """Whether one of the answers is the one version's and the other one the other's."""
        return any(a.is_of(one) and b.is_of(other) for a, b in ((self.new, self.old), (self.old, self.new)))


@dataclass(frozen=True)
class Score:
    """How a version did in votes; `rate` leaves out ties, and votes that called both answers bad."""

    won: int = 0
    lost: int = 0
    ties: int = 0
    bad: int = 0

    @property
    def rate(self) -> float | None:
        """Wins of all votes that were won or lost, 0 to 1; None where there are none."""
        decided = self.won + self.lost
        return self.won / decided if decided else None


def count_score(version: Version, votes: Iterable[Vote]) -> Score:
    """How the version did in votes in which it takes part."""
    given = [*votes]
    outcomes, better = [vote.won_by(version) for vote in given], [vote.better for vote in given]
    return Score(outcomes.count(True), outcomes.count(False), better.count("tie"), better.count("bad"))


# ---------------------------------------------------------------- reading


def read_votes(settings: Settings, conversation: str, user: str) -> dict[Pair, Better]:
    """A person's valid votes on the answers of a conversation, and what they looked up: the pair → which is better."""
    found = trace_search.search_infos(
        settings, f"{trace_search.session_filter(conversation)} AND feedback.{tags.VOTE} IS NOT NULL"
    )
    votes = latest_votes(vote for info in found for vote in votes_of(info))
    return {vote.pair: vote.better for vote in votes if _is_same_person(vote.user, user)}


def search_votes(settings: Settings, version: Version) -> list[Vote]:
    """The valid votes in which the version takes part, on any trace."""
    found = trace_search.search_infos(settings, f"feedback.{tags.VOTE} LIKE '%{as_pattern(version.ref)}%'")
    votes = counted_votes(vote for info in found if is_evidence(info) for vote in votes_of(info))
    return [vote for vote in votes if vote.new.is_of(version) or vote.old.is_of(version)]


def votes_of(info: TraceInfo) -> list[Vote]:
    """The votes that people gave on a trace's answer, those that a later one replaces too."""
    found = []
    for given in info.assessments or []:
        metadata = getattr(given, "metadata", None) or {}
        user, better = person_of(given), _BETTER.get(metadata.get(tags.BETTER, ""))
        if given.name != tags.VOTE or given.valid is False or not user or better is None:
            continue
        new = VotedAnswer(
            metadata.get(tags.NEW, ""), metadata.get(tags.NEW_MODEL, ""), info.trace_id.removeprefix("tr-")
        )
        old = VotedAnswer(metadata.get(tags.OLD, ""), metadata.get(tags.OLD_MODEL, ""), metadata.get(tags.OLD_TURN, ""))
        found.append(Vote(user, better, new, old, given.create_time_ms or 0, str(given.assessment_id)))
    return found


def latest_votes(votes: Iterable[Vote]) -> list[Vote]:
    """The latest of each person on each pair of answers."""
    found: dict[tuple[str, str, str], Vote] = {}
    for vote in sorted(votes, key=lambda vote: vote.when):
        found[vote.user.casefold(), vote.new.turn, vote.old.turn] = vote
    return [*found.values()]


def counted_votes(votes: Iterable[Vote]) -> list[Vote]:
    """The latest of each person on each pair of answers, but for those who only looked whose they are."""
    return [vote for vote in latest_votes(votes) if vote.better != "seen"]


def person_of(assessment: Any) -> str:
    """Who gave an assessment; empty for one that a judge or a script gave."""
    source = assessment.source
    return str(source.source_id or "") if source is not None and source.source_type == "HUMAN" else ""


def is_same_model(model_id: str, version: Version) -> bool:
    """Whether the logged model may be the version's: true where one of the two ids is missing."""
    own = version.source.removeprefix("models:/") if version.source.startswith("models:/m-") else ""
    return not own or not model_id or own == model_id


def as_pattern(text: str) -> str:
    """A LIKE pattern that at least the text matches.

    MLflow's filters know no escape, and what is compared may be JSON: what could be read otherwise becomes a wildcard.
    """
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "/.-@ ") else "%" for letter in text)


def _is_same_person(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


# ---------------------------------------------------------------- writing


def apply_event(known: dict[Pair, Better], event: Mapping[str, Any]) -> None:
    """Change what is known of a person's votes to what it will be once their event (see `send_vote`) is sent."""
    pair, better = (event["turn"], event["old"]["turn"]), event["better"]
    if pair in known and event.get("once") and better != "seen":
        return
    known.pop(pair, None)
    if better:
        known[pair] = better


def send_vote(settings: Settings, event: dict[str, Any]) -> None:
    """Make a person's vote on a pair of answers what the event says.

    The event: turn, better (None takes the vote back), user, new and old (ref, model_id, turn each), comment, once (the
    person's first vote stands, and only ``seen`` may replace it). Raises NotFound when the trace is gone.
    """
    from mlflow.entities import AssessmentSource, Feedback
    from mlflow.exceptions import MlflowException

    tracing, trace_id = trace_search.tracing_client(settings), f"tr-{event['turn']}"
    new, old, better = VotedAnswer(**event["new"]), VotedAnswer(**event["old"]), event["better"]
    user = one_line(event["user"], 250) or "unknown"

    def own_votes() -> list[Vote]:
        """The person's votes on this pair, oldest first."""
        votes = votes_of(tracing.get_trace_info(trace_id))
        own = [vote for vote in votes if vote.old.turn == old.turn and _is_same_person(vote.user, user)]
        return sorted(own, key=lambda vote: vote.when)

    with translate_errors(settings):
        own = own_votes()
        if better is None:
            while own:  # deleting one brings back the one that it overrode
                tracing.delete_assessment(trace_id, own[-1].id)
                own = own_votes()
            return
        if own and (own[-1].better == better or (event.get("once") and better != "seen")):
            return
        won, lost = (new, old) if better != "old" else (old, new)
        metadata = {
            tags.BETTER: better,
            tags.NEW: new.ref, tags.NEW_MODEL: new.model_id,
            tags.OLD: old.ref, tags.OLD_MODEL: old.model_id, tags.OLD_TURN: old.turn,
        }  # fmt: skip
        feedback = Feedback(
            name=tags.VOTE,
            value=f"{won.ref} {_SIGNS.get(better, '>')} {lost.ref}",  # what is searched for, and read in MLflow
            source=AssessmentSource(source_type="HUMAN", source_id=user),
            rationale=without_control(event.get("comment", "")) or None,
            metadata={name: value for name, value in metadata.items() if value},
            overrides=own[-1].id if own else None,
        )
        if event.get("once"):
            feedback.assessment_id = _assessment_id(user, (new.turn, old.turn), better)
        try:
            tracing.log_assessment(trace_id, feedback)
        except MlflowException:
            # Another machine may have sent it since we looked: the store takes no id twice.
            there = [str(given.assessment_id) for given in tracing.get_trace_info(trace_id).assessments or []]
            if not event.get("once") or feedback.assessment_id not in there:
                raise


def _assessment_id(user: str, pair: Pair, better: Better) -> str:
    """An id made from the reviewer and the item, so that the store keeps one vote however often it is sent."""
    kind = "seen" if better == "seen" else "vote"
    made = hashlib.sha256("\n".join([user.casefold(), *pair, kind]).encode(errors="surrogatepass"))
    return f"a-{made.hexdigest()[:32]}"
