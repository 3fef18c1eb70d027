"""How much of a model's context a conversation fills, and what to leave out so that a question fits."""

from __future__ import annotations

from phi3core.clean_text import clean
from phi3core.endpoints.config import Endpoint
from phi3core.serving.handle import ModelServer
from phi3core.traces.turn import Turn

from .model_client import count_context
from .tree import Tree


def count_tokens(
    tree: Tree, server: ModelServer | Endpoint, system: str = "", question: str = "", forget: int | None = None
) -> tuple[int | None, int | None]:
    """How many tokens the active path with this question would send, and how many the context holds.

    None where the server does not tell, as while it loads. forget: as in `Conversation.ask`.
    """
    messages = tree.messages(system, forget=tree.count_forgotten(None, forget))
    if question.strip():
        messages.append({"role": "user", "content": clean(question)})
    if messages:
        return count_context(server, messages)
    _, context = count_context(server, [{"role": "user", "content": "?"}])  # no server counts an empty list
    return (0 if context else None), context


def count_turns_to_forget(
    tree: Tree,
    server: ModelServer | Endpoint,
    system: str,
    question: str,
    parent: Turn | str | None = None,
    room: int = 100,
) -> int | None:
    """The least number of oldest turns to forget so that the question and `room` tokens of answer fit.

    None where even the question alone does not fit, or the server does not tell.
    """
    at = tree.locate(parent)

    def fits(forget: int) -> bool:
        messages = [*tree.messages(system, at, forget), {"role": "user", "content": clean(question)}]
        tokens, context = count_context(server, messages)
        return tokens is not None and context is not None and tokens + room <= context

    low, high = 0, len(tree.path_to(at))
    if not fits(high):
        return None
    while low < high:  # forgetting more never makes it longer
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low
