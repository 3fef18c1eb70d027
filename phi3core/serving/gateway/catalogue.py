"""What the gateway asks the store: the names of all versions, and a cache of what it asked a moment ago."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from phi3core.clock import SYSTEM, Clock
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, search_pages

T = TypeVar("T")


class AsyncTTLCache(Generic[T]):
    """Keeps what a call returned for some seconds; requests that come meanwhile share it. Errors are not kept."""

    def __init__(self, call: Callable[[str], Coroutine[Any, Any, T]], seconds: float, clock: Clock = SYSTEM) -> None:
        self._call, self._seconds, self._clock = call, seconds, clock
        self._kept: dict[str, tuple[float, asyncio.Future[T]]] = {}

    async def get(self, key: str) -> T:
        now = self._clock.now()
        found = self._kept.get(key)
        if found is None or (found[1].done() and now - found[0] > self._seconds):
            self._kept = {old: entry for old, entry in self._kept.items() if now - entry[0] <= self._seconds}
            found = self._kept[key] = (now, asyncio.ensure_future(self._call(key)))
            found[1].add_done_callback(lambda future: self._settle(key, future))
        return await asyncio.shield(found[1])  # a client that hangs up cancels it for no other

    def _settle(self, key: str, future: asyncio.Future[T]) -> None:
        failed = future.cancelled() or future.exception()
        if failed and key in self._kept and self._kept[key][1] is future:
            del self._kept[key]


def list_references(settings: Settings) -> list[dict[str, Any]]:
    """Every name by which a version can be asked for, in the shape of OpenAI's models; root: the version it means.

    A call for the models and one for every thousand versions, however many models there are.
    """
    numbers: dict[str, list[tuple[int, int]]] = {}
    for page in search_pages(settings, lambda **part: mlflow_client(settings).search_model_versions("", **part)):
        for version in page:
            created = int(version.creation_timestamp or 0) // 1000
            numbers.setdefault(version.name, []).append((int(version.version), created))
    listed = []
    for model in reader.list_models(settings):
        made = dict(numbers.get(model.name, []))
        names = {f"{model.name}/{number}": number for number in sorted(made, reverse=True)}
        names |= model.references
        listed += [_listed(name, f"{model.name}/{number}", made.get(number, 0)) for name, number in names.items()]
    return listed


def _listed(name: str, root: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "phi3-playground", "root": root}
