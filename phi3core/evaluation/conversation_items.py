"""Items made of what people asked: of conversations, and of answers that somebody did not like."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from phi3core import tags
from phi3core.access.privacy import may_read
from phi3core.access.roles import Person
from phi3core.chat.conversation import Conversation
from phi3core.errors import BadInput
from phi3core.settings import Settings
from phi3core.traces import trace_search, turn_trace
from phi3core.traces.turn import Turn

from .items import Item, parse_item

_ROLES = ("system", "user", "assistant")


def items_of(conversations: Iterable[Conversation]) -> list[Item]:
    """An item for each question of the paths that are shown, with what was said before it and the answer as reference.

    Raw prompts are left out, and what an item can't hold: a message, or an answer that is too long for a reference.
    """
    found = [_item(talk.sent_for(turn), turn) for talk in conversations for turn in talk.path]
    return [item for item in found if item is not None]


def disliked_items(settings: Settings, person: Person) -> list[Item]:
    """An item for each answer whose last thumb is down, oldest first; the comment is its criteria.

    Of conversations that the person may read. Raises StoreDown.
    """
    items = []
    for found in trace_search.search_traces(settings, f"feedback.{tags.THUMB} IS NOT NULL", page=100):
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):  # a trace that another program wrote
            turn = turn_trace.read_turn(found)
            if turn.thumb is False and may_read(settings, turn.user, person):
                asked = found.data.spans[0].inputs["messages"]
                criteria = f"An earlier answer was disliked: {turn.comment}" if turn.comment else ""
                items.append(_item(asked, turn, {"criteria": criteria} if criteria else {}))
    return [item for item in items if item is not None]


def item_of(messages: Sequence[dict[str, str]], id: str, reference: str = "") -> Item:
    """An item that asks these messages. Raises BadInput where an item can't hold them."""
    plain = [{"role": message["role"], "content": message["content"]} for message in messages]
    expected = {"reference": reference} if reference.strip() else {}
    return parse_item({"id": id, "messages": plain, "expectations": expected}, "The message", 1)


def _item(messages: Sequence[dict[str, Any]], turn: Turn, expected: dict[str, Any] | None = None) -> Item | None:
    if turn.raw or any(message["role"] not in _ROLES for message in messages):
        return None
    if expected is None:
        expected = {"reference": turn.answer} if turn.answer.strip() and turn.state == "done" else {}
    with contextlib.suppress(BadInput):
        item = item_of(messages, turn.id[:12])
        with contextlib.suppress(BadInput):
            return parse_item(item.plain() | {"expectations": expected}, "The message", 1)
        return item
    return None
