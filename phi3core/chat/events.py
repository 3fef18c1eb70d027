"""The events of conversations that wait in the outbox, and how each is sent to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.errors import NotFound
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors
from phi3core.traces import acts, thumbs, trace_search, turn_trace, votes
from phi3core.traces.trace_search import session_filter

from .conversation_filter import pin_tag

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo


def send_event(settings: Settings, event: dict[str, Any], again: bool) -> None:
    """Write an event into the store. Raises StoreDown, and NotFound where what it is about is gone.

    again: it may be there already, whole or in part.
    """
    match event["kind"]:
        case "turn":
            turn_trace.send_turn(settings, event, again)
        case "rate":
            thumbs.send_rating(settings, event)
        case "vote":
            votes.send_vote(settings, event)
        case acts.EVENT:
            acts.send_act(settings, event)
        case "rename":
            _send_title(settings, event["conversation"], event["title"])
        case "pin":
            _send_pin(settings, event["conversation"], pin_tag(event["user"]), event["pinned"])
        case "delete":
            _send_deletion(settings, event["conversation"])
        case "delete turn":
            with translate_errors(settings):
                home = experiment_id(settings, tags.CONVERSATIONS)
                mlflow_client(settings).delete_traces(home, trace_ids=[f"tr-{event['turn']}"])


def _send_title(settings: Settings, id: str, title: str) -> None:
    first = _first_trace(settings, id)
    with translate_errors(settings):
        mlflow_client(settings).set_trace_tag(first.trace_id, tags.TITLE, title)


def _send_pin(settings: Settings, id: str, tag: str, pinned: bool) -> None:
    first = _first_trace(settings, id)
    with translate_errors(settings):
        if pinned:
            mlflow_client(settings).set_trace_tag(first.trace_id, tag, "1")
        elif tag in first.tags:
            mlflow_client(settings).delete_trace_tag(first.trace_id, tag)


def _first_trace(settings: Settings, id: str) -> TraceInfo:
    """The trace that carries what is the conversation's own. Raises NotFound where there is none."""
    titled = f"{session_filter(id)} AND tags.`{tags.TITLE}` IS NOT NULL"
    first = next(iter(trace_search.search_infos(settings, titled, "ASC", 1)), None)
    first = first or next(iter(trace_search.search_infos(settings, session_filter(id), "ASC", 1)), None)
    if first is None:
        raise NotFound("The conversation is not in the store any more.")
    return first


def _send_deletion(settings: Settings, id: str) -> None:
    home = experiment_id(settings, tags.CONVERSATIONS)
    while found := [info.trace_id for info in trace_search.search_infos(settings, session_filter(id), most=100)]:
        with translate_errors(settings):
            if not mlflow_client(settings).delete_traces(home, trace_ids=found):
                return
