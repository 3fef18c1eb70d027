"""Finding the traces of conversations in the store, and the filters to find them by."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from phi3core import tags
from phi3core.errors import BadInput
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors

if TYPE_CHECKING:
    from mlflow.entities import Trace, TraceInfo
    from mlflow.tracing.client import TracingClient

NOT_THERE = "This conversation is not in the store (any more). Start a new one."
SESSION, USER, MODEL_ID = "mlflow.trace.session", "mlflow.trace.user", "mlflow.modelId"
"""MLflow's names of a trace's metadata: the conversation, who asked, the logged model that answered."""

RUN = "mlflow.sourceRun"
"""Likewise: the run that it was made in."""

_PAGE = 500  # traces in one answer of the store


def tracing_client(settings: Settings) -> TracingClient:
    """MLflow's client for traces."""
    mlflow_client(settings)  # translates what goes wrong in opening the store
    from mlflow.tracing.client import TracingClient

    return TracingClient(settings.tracking_uri)


def search_traces(
    settings: Settings,
    where: str,
    order: str = "ASC",
    most: int = 100_000,
    spans: bool = True,
    page: int = _PAGE,
    experiment: str = tags.CONVERSATIONS,
) -> Iterator[Trace]:
    """Find the traces of conversations, or of another experiment, that match a filter of MLflow's.

    Args:
        order: ``ASC`` or ``DESC``, by time.
        most: traces, at most.
        spans: read what is in the traces too.
        page: traces in one call of the store.

    Raises:
        StoreDown: the store does not answer.
    """
    home = experiment_id(settings, experiment)
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


def search_infos(
    settings: Settings, where: str, order: str = "ASC", most: int = 100_000, experiment: str = tags.CONVERSATIONS
) -> Iterator[TraceInfo]:
    """Find them likewise, without what is in the traces."""
    found = search_traces(settings, where, order, most, spans=False, experiment=experiment)
    return (trace.info for trace in found)


def search_sessions(settings: Settings, sessions: Collection[str], where: str = "") -> Iterator[TraceInfo]:
    """Find the traces of some conversations, oldest first. where: a filter that they match besides."""
    ids = [id for id in sessions if re.fullmatch(r"[0-9A-Za-z_-]+", id)]
    if ids:
        of_these = f"metadata.`{SESSION}` RLIKE '^({'|'.join(ids)})$'"
        yield from search_infos(settings, f"{of_these} AND {where}" if where else of_these)


def find_session(settings: Settings, trace_id: str) -> str:
    """The id of the conversation that a trace belongs to. Raises NotFound or StoreDown."""
    with translate_errors(settings):
        info = tracing_client(settings).get_trace_info(trace_id)
    return str((info.trace_metadata or {}).get(SESSION, ""))


def check_conversation_id(id: str) -> str:
    """Return the id, which is safe in a filter then. Raises BadInput for anything that is no conversation's id."""
    if not re.fullmatch(r"[0-9a-f]{32}", id):
        raise BadInput("This is not a conversation's address. Start a new one.")
    return id


def session_filter(id: str) -> str:
    """A filter for the traces of one conversation."""
    return f"metadata.`{SESSION}` = '{check_conversation_id(id)}'"
