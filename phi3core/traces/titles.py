"""What conversations are called: after their first question, unless a person named them otherwise."""

from __future__ import annotations

from collections.abc import Collection

from phi3core import tags
from phi3core.clean_text import one_line
from phi3core.settings import Settings

from . import outbox, trace_search
from .trace_search import SESSION

TITLE_LENGTH = 80  # characters


def default_title(question: str) -> str:
    """The start of a conversation's first question, on one line."""
    return one_line(question, TITLE_LENGTH) or "…"


def read_given_titles(settings: Settings, conversations: Collection[str]) -> dict[str, str]:
    """The titles that are not the start of the first question, by the conversation's id; one call of the store.

    Raises StoreDown.
    """
    titles: dict[str, str] = {}
    pending = list(outbox.pending_events(settings))  # before the store: what is sent meanwhile is in one of the two
    for info in trace_search.search_sessions(settings, conversations, f"tags.`{tags.TITLE}` IS NOT NULL"):
        title = info.tags[tags.TITLE]
        is_default = title == default_title(info.request_preview or "")
        titles.setdefault(info.trace_metadata[SESSION], "" if is_default else title)  # the first in time counts
    for event in pending:
        if event["kind"] == "rename" and event["conversation"] in conversations:
            titles[event["conversation"]] = event["title"]
    return {id: title for id, title in titles.items() if title}
