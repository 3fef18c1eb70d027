"""A turn as an MLflow trace, and back.

The trace's id is the turn's, so that sending a turn again changes nothing. It is written through MLflow's tracing
client and not through its tracing decorators, which swallow a store that does not answer.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.clean_text import clean, one_line, without_control
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors

from .thumbs import apply_rating
from .trace_search import MODEL_ID, SESSION, USER, tracing_client
from .turn import Origin, Turn

if TYPE_CHECKING:
    from mlflow.entities import Assessment, Span, Trace, TraceInfo

_PREVIEW = 1000  # characters, as MLflow cuts them too


def send_turn(settings: Settings, event: dict[str, Any], again: bool) -> None:
    """Write a turn's trace. again: it may be there already, whole or in part."""
    turn = Turn.from_plain(event["turn"])
    metadata = {
        SESSION: event["conversation"],
        tags.PARENT: turn.parent,
        tags.ORIGIN: json.dumps(event["origin"]) if event.get("origin") else "",
    }
    tag_values = {tags.TITLE: event.get("title", ""), tags.IMPORTED: _imported(turn, event.get("origin"))}
    info = make_info(turn, experiment_id(settings, tags.CONVERSATIONS), metadata, tag_values)
    if again and _is_there(settings, turn.trace_id):
        return
    write_traces(settings, [make_trace(turn, event["messages"], info)])


def make_trace(turn: Turn, messages: list[dict[str, str]], info: TraceInfo) -> Trace:
    """The trace of a turn that was asked with these messages. info: of `make_info`."""
    from mlflow.entities import Trace, TraceData

    return Trace(info, TraceData([_span(turn, messages)]))


def write_traces(settings: Settings, traces: Sequence[Trace]) -> None:
    """Write traces of one experiment, of at least one: their spans in a single call of the store.

    Raises:
        StoreDown: the store does not answer; some may be written, whole or without their span.
    """
    tracing = tracing_client(settings)
    with translate_errors(settings):
        written = [tracing.start_trace(trace.info) for trace in traces]
        spans = [span for trace in traces for span in trace.data.spans]
        try:
            tracing.log_spans(str(traces[0].info.experiment_id), spans)
        except NotImplementedError:  # an older server, or a managed one: it keeps spans as a file
            for info, trace in zip(written, traces):
                tracing._upload_trace_data(info, trace.data)


def _is_there(settings: Settings, trace_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(mlflow_client(settings).get_trace(trace_id).data.spans)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "BAD_REQUEST", "INVALID_STATE"):
            return False  # not there, or there without its span
        raise


def make_info(
    turn: Turn,
    experiment: str,
    metadata: dict[str, str],
    tag_values: dict[str, str] | None = None,
    assessments: Sequence[Assessment] = (),
) -> TraceInfo:
    """What MLflow keeps of a turn beside its span.

    Args:
        experiment: the id of the one that the trace belongs to.
        metadata, tag_values: beside those that every turn has; empty ones are left out.
        assessments: that it has from the beginning.
    """
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    metadata = metadata | {
        USER: one_line(turn.user, 250),
        MODEL_ID: turn.model_id,
        "mlflow.trace_schema.version": "3",
        "mlflow.trace.tokenUsage": json.dumps(usage) if (usage := _usage(turn)) else "",
    }
    tag_values = (tag_values or {}) | {
        "mlflow.traceName": "chat",
        tags.VERSION: one_line(turn.ref, 250),
        tags.ASKED: one_line(turn.asked_ref, 250),
    }
    return TraceInfo(
        trace_id=turn.trace_id,
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=turn.when,
        execution_duration=int(turn.took_ms),
        state=TraceState.ERROR if turn.state == "failed" else TraceState.OK,
        request_preview=without_control(turn.question[:_PREVIEW]),
        response_preview=without_control((turn.answer or turn.error)[:_PREVIEW]),
        trace_metadata={name: value for name, value in metadata.items() if value},
        tags={name: value for name, value in tag_values.items() if value},
        assessments=list(assessments),
    )


def _imported(turn: Turn, origin: dict[str, Any] | None) -> str:
    in_import = origin is not None and origin["kind"] == "import"
    return "true" if turn.imported else "false" if in_import else ""


def _span(turn: Turn, messages: list[dict[str, str]]) -> Span:
    from mlflow.entities import Span

    asked = {"prompt": turn.question} if turn.raw else {"messages": messages}
    options = turn.options | ({"seed": turn.seed} if turn.seed is not None else {})
    text = {"text": turn.answer} if turn.raw else {"message": {"role": "assistant", "content": turn.answer}}
    answer = {"model": turn.ref, "choices": [{"index": 0, **text, "finish_reason": turn.finish_reason}]}
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
    """MLflow's token usage; empty where the model told no counts."""
    if not turn.prompt_tokens and not turn.completion_tokens:
        return {}
    usage = {"input_tokens": turn.prompt_tokens, "output_tokens": turn.completion_tokens}
    usage["total_tokens"] = sum(usage.values())
    return usage | ({"cache_read_input_tokens": turn.cached_tokens} if turn.cached_tokens else {})


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


# ---------------------------------------------------------------- reading


def read_turn(trace: Trace) -> Turn:
    """The turn that a trace holds, with its rating. Raises KeyError where it holds none."""
    turn = Turn.from_plain(trace.data.spans[0].attributes[tags.TURN])
    apply_rating(turn, trace.info)
    return turn


def read_origin(info: TraceInfo) -> Origin | None:
    """Where the trace's conversation came from."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        saved = json.loads(info.trace_metadata[tags.ORIGIN])
        more = int(saved.get("compared", 0)), bool(saved.get("blind", True))
        return Origin(str(saved["kind"]), str(saved["conversation"]), str(saved["turn"]), *more)
    return None
