"""GET /metrics: what the app and its model servers have done, for Prometheus.

Each model server counts for itself (`child.metrics`); here their counts are put together with the app's own. A model
whose code runs can say what it likes there: only what is known is taken, and of that version alone. It names versions,
so that it is for those whom /v1 answers.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.samples import Sample
from starlette.requests import Request
from starlette.responses import Response

from phi3core.serving.guard import App, Receive, Scope, Send
from phi3core.serving.handle import ModelServer
from phi3core.settings import Settings
from phi3core.traces import outbox

from .upstream import Upstream

_FAMILIES = {
    "phi3_answers": "counter",
    "phi3_first_token_seconds": "histogram",
    "phi3_token_interval_seconds": "histogram",
    "phi3_tokens": "counter",
    "phi3_answers_running": "gauge",
    "phi3_answers_waiting": "gauge",
}
"""What a model server counts, and the type of each."""

_LABELS = {"version", "outcome", "kind", "le"}
_MOST = 1 << 20  # bytes of a model server's counts
_PATIENCE = 2.0  # seconds for a model server to answer
_PATHS = ("/chat/completions", "/completions", "/responses", "/models", "/openapi.json")


class Metrics:
    """What the app counts, and the route that tells it."""

    def __init__(self, settings: Settings, upstream: Upstream) -> None:
        self._settings, self._upstream = settings, upstream
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter(
            "phi3_requests", "Requests to /v1, by what they asked and the status of the answer.", ("path", "status"),
            registry=self._registry,
        )  # fmt: skip

    def count(self, app: App) -> App:
        """ASGI middleware for /v1 that counts requests by their status."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            async def sent(message: Any) -> None:
                if message["type"] == "http.response.start":
                    self._requests.labels(_path(scope), str(message["status"])).inc()
                await send(message)

            await app(scope, receive, sent if scope["type"] == "http" else send)

        return counted

    async def answer(self, _: Request) -> Response:
        """All counts, those of model servers that do not answer left out."""
        self._upstream.session()
        servers = self._upstream.running()
        told = await asyncio.gather(*(self._ask(server) for server in servers))
        registry = CollectorRegistry()
        registry.register(_Together(self._app_metrics(servers, told), told))
        body = generate_latest(self._registry) + generate_latest(registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    async def _ask(self, server: ModelServer) -> list[Metric]:
        """A model server's own counts; none where it does not answer as it should."""
        import aiohttp

        if not server.ready:
            return []
        body = bytearray()
        try:
            async with asyncio.timeout(_PATIENCE):
                headers = {"authorization": f"Bearer {server.key}"}
                async with self._upstream.session().get(f"{server.url}/metrics", headers=headers) as answer:
                    if not answer.ok:
                        return []
                    async for chunk in answer.content.iter_chunked(65536):
                        body += chunk
                        if len(body) > _MOST:
                            return []
            return await asyncio.to_thread(lambda: list(read_counts(body.decode(), server.ref)))
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, IndexError):
            return []

    def _app_metrics(self, servers: list[ModelServer], told: list[list[Metric]]) -> Iterable[Metric]:
        up = GaugeMetricFamily("phi3_model_server_up", "Whether it answers.", labels=["version"])
        memory = GaugeMetricFamily("phi3_model_server_memory_bytes", "Memory that it takes.", labels=["version"])
        for server, counts in zip(servers, told, strict=True):
            up.add_metric([server.ref], float(bool(counts)))
            memory.add_metric([server.ref], server.memory_taken)
        unsent = "Turns, votes and comments that wait on this machine for the store."
        waiting = GaugeMetricFamily("phi3_unsent_events", unsent, value=outbox.count_pending(self._settings))
        return up, memory, waiting


class _Together:
    """The app's own metrics, and those of several model servers, each family once."""

    def __init__(self, own: Iterable[Metric], told: Iterable[Iterable[Metric]]) -> None:
        self._own, self._told = own, told

    def collect(self) -> Iterable[Metric]:
        yield from self._own
        families: dict[str, Metric] = {}
        for family in itertools.chain.from_iterable(self._told):
            families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            families[family.name].samples += family.samples
        yield from families.values()


def read_counts(text: str, version: str) -> Iterator[Metric]:
    """What a model server counts, as counts of that version, each once. Raises ValueError and others for no such text.

    version: its reference.
    """
    seen = set()
    for family in text_string_to_metric_families(text):
        created = family.name.removesuffix("_created")  # when a count began, as a gauge
        if family.type != (_FAMILIES.get(family.name) or (_FAMILIES.get(created) and "gauge")):
            continue
        kept = Metric(family.name, family.documentation, family.type)
        for sample in family.samples:
            labels = {**sample.labels, "version": version}
            series = (sample.name, *sorted(labels.items()))
            if set(labels) <= _LABELS and series not in seen:
                seen.add(series)
                kept.samples.append(Sample(sample.name, labels, sample.value))
        yield kept


def _path(scope: Scope) -> str:
    """What was asked, one of few, for each value is a series of its own."""
    path = str(scope.get("path", "")).removeprefix("/v1")
    return next((f"/v1{known}" for known in _PATHS if path == known or path.startswith(f"{known}/")), "other")
