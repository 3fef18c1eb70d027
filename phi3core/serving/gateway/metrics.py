"""GET /metrics: what the app and its model servers have done, for Prometheus.

Each model server counts for itself (`child.metrics`); here their counts are put together with the app's own. It names
versions, so that it is for those whom /v1 answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.requests import Request
from starlette.responses import Response

from phi3core.serving.guard import App, Receive, Scope, Send
from phi3core.serving.handle import ModelServer
from phi3core.settings import Settings
from phi3core.traces import outbox

from .upstream import Upstream

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
        texts = await asyncio.gather(*(self._ask(server) for server in servers))
        registry = CollectorRegistry()
        registry.register(_Together(self._app_metrics(servers, texts), texts))
        body = generate_latest(self._registry) + generate_latest(registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    async def _ask(self, server: ModelServer) -> str:
        """A model server's own counts; empty where it does not answer."""
        import aiohttp

        if not server.ready:
            return ""
        try:
            async with asyncio.timeout(_PATIENCE):
                headers = {"authorization": f"Bearer {server.key}"}
                async with self._upstream.session().get(f"{server.url}/metrics", headers=headers) as answer:
                    return await answer.text() if answer.ok else ""
        except (aiohttp.ClientError, TimeoutError):
            return ""

    def _app_metrics(self, servers: list[ModelServer], texts: list[str]) -> Iterable[Metric]:
        up = GaugeMetricFamily("phi3_model_server_up", "Whether it answers.", labels=["version"])
        memory = GaugeMetricFamily("phi3_model_server_memory_bytes", "Memory that it takes.", labels=["version"])
        for server, text in zip(servers, texts, strict=True):
            up.add_metric([server.ref], float(bool(text)))
            memory.add_metric([server.ref], server.memory_taken)
        waiting = outbox.count_pending(self._settings)
        told = "Turns, votes and comments that wait on this machine for the store."
        return up, memory, GaugeMetricFamily("phi3_unsent_events", told, value=waiting)


class _Together:
    """Metrics of several texts, each family once."""

    def __init__(self, own: Iterable[Metric], texts: Iterable[str]) -> None:
        self._own, self._texts = own, texts

    def collect(self) -> Iterable[Metric]:
        yield from self._own
        families: dict[str, Metric] = {}
        for text in self._texts:
            for family in text_string_to_metric_families(text):
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                families[family.name].samples += family.samples
        yield from families.values()


def _path(scope: Scope) -> str:
    """What was asked, one of few, for each value is a series of its own."""
    path = str(scope.get("path", "")).removeprefix("/v1")
    return next((f"/v1{known}" for known in _PATHS if path == known or path.startswith(f"{known}/")), "other")
