"""Thumbs: a person's verdict on an answer, with a comment, as an assessment of the answer's trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.clean_text import one_line, without_control
from phi3core.settings import Settings
from phi3core.store.client import translate_errors

from .trace_search import tracing_client
from .turn import Turn

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo


def apply_rating(turn: Turn, info: TraceInfo) -> None:
    """Give a turn the thumb of its trace's newest valid assessment."""
    for assessment in valid_thumbs(info)[-1:]:
        turn.thumb = bool(assessment.value)
        turn.comment = assessment.rationale or ""
        turn.rated_by = assessment.source.source_id if assessment.source else ""


def valid_thumbs(info: TraceInfo) -> list[Any]:
    """The thumbs that no later one overrides, oldest first."""
    found = [a for a in info.assessments or [] if a.name == tags.THUMB and getattr(a, "valid", True) is not False]
    return sorted(found, key=lambda assessment: assessment.create_time_ms or 0)


def send_rating(settings: Settings, event: dict[str, Any]) -> None:
    """Make the turn's thumb what the event says.

    The event: turn, thumb (None takes it back), comment, user. Raises NotFound when the trace is gone.
    """
    from mlflow.entities import AssessmentSource, Feedback

    tracing, trace_id = tracing_client(settings), f"tr-{event['turn']}"
    with translate_errors(settings):
        info = tracing.get_trace_info(trace_id)
        valid = valid_thumbs(info)
        if event["thumb"] is None:
            # Deleting one brings back the one that it overrode: the newest go first.
            thumbs = [a for a in info.assessments or [] if a.name == tags.THUMB]
            for assessment in sorted(thumbs, key=lambda a: a.create_time_ms or 0, reverse=True):
                tracing.delete_assessment(trace_id, str(assessment.assessment_id))
            return
        last = valid[-1] if valid else None
        comment, user = without_control(event["comment"]), one_line(event["user"], 250) or "unknown"
        if last and (last.value, last.rationale or "", last.source.source_id) == (event["thumb"], comment, user):
            return
        feedback = Feedback(
            name=tags.THUMB,
            value=event["thumb"],
            source=AssessmentSource(source_type="HUMAN", source_id=user),
            rationale=comment or None,
            overrides=last.assessment_id if last else None,
        )
        tracing.log_assessment(trace_id, feedback)
