"""A small prompt set."""

from __future__ import annotations

from phi3core.evaluation.items import Item


def item(id: str, prompt: str = "What is the capital of Spain?", **expectations: object) -> Item:
    return Item(id, ({"role": "user", "content": prompt},), expectations)


CAPITALS = [
    item("spain", contains=["Madrid"]),
    item("france", "What is the capital of France?", contains=["Paris"]),
    item("free", "Say hello."),
]
