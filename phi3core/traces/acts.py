"""What reviewers do with the items of a review, as assessments on the answers' traces: they reserve, vote, take back.

An act is never changed: each has an id made from what it is, and the store takes no id twice. So the first of two who
claim the same place at once has it, a vote that is sent twice is kept once, and the history stays. Knows nothing of
what a review is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from phi3core import tags
from phi3core.clean_text import clean, one_line, without_control
from phi3core.settings import Settings
from phi3core.store.client import translate_errors
from phi3core.timestamps import from_ms, now_ms

from . import trace_search
from .votes import person_of

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

EVENT = "act"
"""The kind of the outbox's event that `send_act` sends."""

Value = str | int
Kind = Literal["claim", "vote", "undo"]


@dataclass(frozen=True)
class Act:
    """One act of a reviewer on an item. review: the id of its run. at: when, in milliseconds since 1970.

    slot: of a claim, which of the places for reviewers it takes. number: of a claim, the how manieth claim of that
    place; of a vote, the how manieth vote of this reviewer; of an undo, that of the vote that it takes back. check: the
    item was a repeated one. values: of a vote, by criterion ("" where there is none). first: the reference of what was
    drawn first. arrived: when it was sent to the store; 0 before.
    """

    kind: Kind
    review: str
    item: str
    reviewer: str
    number: int = 0
    slot: int = 0
    check: bool = False
    values: dict[str, Value] = field(default_factory=dict)
    first: str = ""
    comment: str = ""
    at: int = field(default_factory=now_ms)
    arrived: int = 0

    @property
    def id(self) -> str:
        """Of its assessment, made from what it is of."""
        who = [str(self.slot)] if self.kind == "claim" else [one_line(self.reviewer, 250).casefold(), str(self.check)]
        text = "\n".join([self.review, self.item, self.kind, *who, str(self.number)])
        return f"a-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:32]}"


def event_of(trace_id: str, act: Act, words: str) -> dict[str, Any]:
    """The outbox's event for an act. words: what MLflow's own pages show as its value."""
    plain = {name: getattr(act, name) for name in act.__dataclass_fields__ if name != "arrived"}
    about = {"kind": EVENT, "conversation": act.review, "turn": trace_id.removeprefix("tr-")}
    return {**about, "act": clean(plain), "words": words}


def act_of_event(event: dict[str, Any]) -> Act:
    """The act in an event of the outbox."""
    return Act(**event["act"])


def send_act(settings: Settings, event: dict[str, Any]) -> None:
    """Write an act's assessment, once however often it is sent. Raises NotFound where the answer's trace is gone."""
    write_act(settings, f"tr-{event['turn']}", act_of_event(event), event["words"])


def write_act(settings: Settings, trace_id: str, act: Act, words: str) -> bool:
    """Write an act's assessment; whether it was not there yet. Raises NotFound, StoreDown."""
    from mlflow.entities import AssessmentSource, Feedback
    from mlflow.exceptions import MlflowException

    tracing = trace_search.tracing_client(settings)
    told: dict[str, object] = {
        "kind": act.kind,
        "number": act.number,
        "slot": act.slot,
        "check": act.check,
        "at": act.at,
    }
    told |= {"values": act.values, "first": act.first} if act.kind == "vote" else {}
    given = Feedback(
        name=tags.CLAIM if act.kind == "claim" else tags.JUDGEMENT,
        value=without_control(words),
        source=AssessmentSource(source_type="HUMAN", source_id=one_line(act.reviewer, 250) or "unknown"),
        rationale=without_control(act.comment) or None,
        metadata={tags.REVIEW: act.review, tags.ITEM: act.item, tags.ACT: json.dumps(told)},
        overrides=replace(act, kind="vote").id if act.kind == "undo" else None,
    )
    given.assessment_id = act.id
    with translate_errors(settings):
        try:
            tracing.log_assessment(trace_id, given)
        except MlflowException:
            there = tracing.get_trace_info(trace_id).assessments or []
            if act.id not in [str(one.assessment_id) for one in there]:
                raise
            return False
        return True


def acts_of(infos: Iterable[TraceInfo], review: str) -> list[Act]:
    """What reviewers did on traces in one review. What another program wrote there is left out."""
    found = []
    for info in infos:
        for given in info.assessments or []:
            metadata = getattr(given, "metadata", None) or {}
            if metadata.get(tags.REVIEW) == review and (act := _act(given, metadata)) is not None:
                found.append(act)
    return found


def search_acts(settings: Settings, review: str, run_id: str) -> list[Act]:
    """All that was done in a review of the answers of an evaluation. Raises StoreDown."""
    where = f"metadata.`{trace_search.RUN}` = '{run_id}' AND feedback.{tags.CLAIM} IS NOT NULL"
    return acts_of(trace_search.search_infos(settings, where, experiment=tags.EVALUATIONS), review)


def read_acts(settings: Settings, review: str, trace_id: str) -> list[Act]:
    """What was done on one trace in a review. Raises NotFound, StoreDown."""
    with translate_errors(settings):
        return acts_of([trace_search.tracing_client(settings).get_trace_info(trace_id)], review)


def _act(given: Any, metadata: dict[str, str]) -> Act | None:
    """An assessment as an act; None where it is none that this app wrote."""
    try:
        told = json.loads(metadata[tags.ACT])
        act = Act(
            told["kind"], metadata[tags.REVIEW], metadata[tags.ITEM], person_of(given), int(told["number"]),
            int(told["slot"]), told["check"] is True, dict(told.get("values", {})), str(told.get("first", "")),
            given.rationale or "", int(told["at"]), int(given.create_time_ms or 0),
        )  # fmt: skip
        from_ms(act.at)  # raises for what is no time
    except (KeyError, TypeError, ValueError, OverflowError, OSError, RecursionError):
        return None
    of_a_kind = act.kind in get_args(Kind) and all(type(value) in (str, int) for value in act.values.values())
    return act if of_a_kind and act.reviewer and act.id == str(given.assessment_id) else None
