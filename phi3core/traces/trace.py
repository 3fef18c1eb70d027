"""A turn as an MLflow trace, and back.

The trace's id is the turn's, so that sending a turn again changes nothing. It is written through MLflow's tracing
client and not through its tracing decorators, which swallow a store that does not answer.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.errors import BadInput
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors

from .turn import Origin, Turn, clean, one_line, without_control

if TYPE_CHECKING:
    from mlflow.entities import Span, Trace, TraceInfo
    from mlflow.tracing.client import TracingClient

SESSION, USER, MODEL_ID = "mlflow.trace.session", "mlflow.trace.user", "mlflow.modelId"
_PREVIEW = 1000  # characters, as MLflow cuts them too
_PAGE = 500  # traces in one answer of the store


def send_turn(settings: Settings, event: dict[str, Any], again: bool) -> None:
    """Write a turn's trace. again: it may be there already, whole or in part."""
    turn = Turn.from_plain(event["turn"])
    home = experiment_id(settings, tags.CONVERSATIONS)
    tracing = tracer(settings)
    with translate_errors(settings):
        if again and _is_there(settings, turn.trace_id):
            return
        span = _span(turn, event["messages"])
        info = tracing.start_trace(_info(turn, home, event))
        try:
            tracing.log_spans(home, [span])
        except NotImplementedError:  # an older server, or a managed one: it keeps spans as a file
            from mlflow.entities import TraceData

            tracing._upload_trace_data(info, TraceData([span]))


def tracer(settings: Settings) -> TracingClient:
    """MLflow's client for traces."""
    mlflow_client(settings)  # translates what goes wrong in opening the store
    from mlflow.tracing.client import TracingClient

    return TracingClient(settings.tracking_uri)


def _is_there(settings: Settings, trace_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(mlflow_client(settings).get_trace(trace_id).data.spans)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "BAD_REQUEST", "INVALID_STATE"):
            return False  # not there, or there without its span
        raise


def _info(turn: Turn, home: str, event: dict[str, Any]) -> TraceInfo:
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    metadata = {
        SESSION: event["conversation"],
        USER: one_line(turn.user, 250),
        MODEL_ID: turn.model_id,
        tags.PARENT: turn.parent,
        tags.ORIGIN: json.dumps(event["origin"]) if event.get("origin") else "",
        "mlflow.trace_schema.version": "3",
        "mlflow.trace.tokenUsage": json.dumps(usage) if (usage := _usage(turn)) else "",
    }
    tag_values = {
        "mlflow.traceName": "chat",
        tags.VERSION: one_line(turn.ref, 250),
        tags.ASKED: one_line(turn.asked_ref, 250),
        tags.TITLE: event.get("title", ""),
    }
    return TraceInfo(
        trace_id=turn.trace_id,
        trace_location=TraceLocation.from_experiment_id(home),
        request_time=turn.when,
        execution_duration=int(turn.took_ms),
        state=TraceState.ERROR if turn.state == "failed" else TraceState.OK,
        request_preview=without_control(turn.question[:_PREVIEW]),
        response_preview=without_control((turn.answer or turn.error)[:_PREVIEW]),
        trace_metadata={name: value for name, value in metadata.items() if value},
        tags={name: value for name, value in tag_values.items() if value},
    )


def _span(turn: Turn, messages: list[dict[str, str]]) -> Span:
    from mlflow.entities import Span

    asked = {"prompt": turn.question} if turn.raw else {"messages": messages}
    options = turn.options | ({"seed": turn.seed} if turn.seed is not None else {})
    said = {"text": turn.answer} if turn.raw else {"message": {"role": "assistant", "content": turn.answer}}
    answer = {"model": turn.ref, "choices": [{"index": 0, **said, "finish_reason": turn.finish_reason}]}
    attributes = {
        "mlflow.traceRequestId": turn.trace_id,
        "mlflow.spanType": "CHAT_MODEL" if not turn.raw else "LLM",
        "mlflow.spanInputs": {**asked, "model": turn.ref, **options},
        "mlflow.spanOutputs": answer | ({"error": turn.error} if turn.error else {}),
        "mlflow.llm.model": turn.ref,
        tags.RENDERED: turn.prompt,
        tags.FIRST_TOKEN_MS: turn.first_token_ms,
        tags.TOKENS_PER_SECOND: turn.tokens_per_second,
        tags.TURN: turn.plain(),
    }
    if usage := _usage(turn):
        attributes["mlflow.chat.tokenUsage"] = usage
    start = turn.when * 1_000_000
    return Span.from_dict(
        {
            "trace_id": _base64(turn.id),
            "span_id": _base64(turn.id[:16]),
            "parent_span_id": None,
            "name": "chat",
            "start_time_unix_nano": start,
            "end_time_unix_nano": start + int(turn.took_ms * 1_000_000),
            "status": {
                "code": "STATUS_CODE_ERROR" if turn.state == "failed" else "STATUS_CODE_OK",
                "message": without_control(turn.error),
            },
            # Not escaped, so that MLflow's search finds what was written in any script.
            "attributes": {name: json.dumps(clean(value), ensure_ascii=False) for name, value in attributes.items()},
        }
    )


def _usage(turn: Turn) -> dict[str, int]:
    """MLflow's token usage; nothing where nobody knows it."""
    if not turn.prompt_tokens and not turn.completion_tokens:
        return {}
    usage = {"input_tokens": turn.prompt_tokens, "output_tokens": turn.completion_tokens}
    usage["total_tokens"] = sum(usage.values())
    return usage | ({"cache_read_input_tokens": turn.cached_tokens} if turn.cached_tokens else {})


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


# ---------------------------------------------------------------- reading


def turn_of(trace: Trace) -> Turn:
    """The turn that a trace holds, with its rating. Raises KeyError where it holds none."""
    root = trace.data.spans[0]
    saved = root.attributes.get(tags.TURN)
    if saved is None:
        saved = _before_trees(trace)
    return rated(Turn.from_plain(saved), trace.info)


def _before_trees(trace: Trace) -> dict[str, Any]:
    """A turn as it was saved while conversations were lists: its outputs, and its position as a tag."""
    outputs = trace.data.spans[0].outputs
    if not isinstance(outputs, dict) or "question" not in outputs:
        raise KeyError(tags.TURN)
    info = trace.info
    user = (info.trace_metadata or {}).get(USER, "")
    return outputs | {"id": info.trace_id.removeprefix("tr-"), "when": info.request_time, "user": user}


def rated(turn: Turn, info: TraceInfo) -> Turn:
    """The turn with the thumb that its trace's newest valid assessment tells."""
    for assessment in valid_thumbs(info):
        turn.thumb = bool(assessment.value)
        turn.comment = assessment.rationale or ""
        turn.rated_by = assessment.source.source_id if assessment.source else ""
    return turn


def valid_thumbs(info: TraceInfo) -> list[Any]:
    """The thumbs that no later one overrides, oldest first."""
    found = [a for a in info.assessments or [] if a.name == tags.THUMB and getattr(a, "valid", True) is not False]
    return sorted(found, key=lambda assessment: assessment.create_time_ms or 0)


def origin_of(info: TraceInfo) -> Origin | None:
    """Where the trace's conversation came from."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        known = json.loads(info.trace_metadata[tags.ORIGIN])
        return Origin(str(known["kind"]), str(known["conversation"]), str(known["turn"]))
    return None


def search(
    settings: Settings, where: str, order: str = "ASC", most: int = 100_000, spans: bool = True, page: int = _PAGE
) -> Iterator[Trace]:
    """The traces of conversations that match, ASC or DESC by time, so many at a time. Raises StoreDown."""
    home = experiment_id(settings, tags.CONVERSATIONS)
    token = None
    while most > 0:
        with translate_errors(settings):
            found = mlflow_client(settings).search_traces(
                locations=[home],
                filter_string=where,
                order_by=[f"timestamp_ms {order}"],
                max_results=min(page, most),
                page_token=token,
                include_spans=spans,
            )
        yield from found
        most, token = most - len(found), found.token
        if not token or not found:
            return


def infos(settings: Settings, where: str, order: str = "ASC", most: int = 100_000) -> Iterator[TraceInfo]:
    """The same without what is in the traces."""
    return (trace.info for trace in search(settings, where, order, most, spans=False))


def checked(id: str) -> str:
    """A conversation's id, for it goes into filters. Raises BadInput."""
    if not re.fullmatch(r"[0-9a-f]{32}", id):
        raise BadInput("This is not a conversation's address. Start a new one.")
    return id


def of_session(id: str) -> str:
    """A filter for the traces of one conversation."""
    return f"metadata.`{SESSION}` = '{checked(id)}'"


# ---------------------------------------------------------------- rating


def send_rating(settings: Settings, event: dict[str, Any]) -> None:
    """Make the turn's thumb what the event says. Raises NotFound when its trace is gone."""
    from mlflow.entities import AssessmentSource, Feedback

    tracing, trace_id = tracer(settings), f"tr-{event['turn']}"
    with translate_errors(settings):
        info = tracing.get_trace_info(trace_id)
        standing = valid_thumbs(info)
        if event["thumb"] is None:
            # Deleting one brings back the one that it overrode: the newest go first.
            thumbs = [a for a in info.assessments or [] if a.name == tags.THUMB]
            for assessment in sorted(thumbs, key=lambda a: a.create_time_ms or 0, reverse=True):
                tracing.delete_assessment(trace_id, str(assessment.assessment_id))
            return
        last = standing[-1] if standing else None
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
