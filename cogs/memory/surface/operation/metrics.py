"""The optional Prometheus endpoint: the numbers of `/memory stats`, and those of the process. No ids, no names."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

from cogs.memory.exceptions import MemoryCogError, StoreError

from .operator_figures import operator_figures
from .samples import percentile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiohttp import web
    from prometheus_client import CollectorRegistry, Metric

    from cogs.memory.surface.services import SurfaceServices

    from .loop_lag import LoopLag
    from .operator_figures import OperatorFigures

FRESH_S: Final = 5.0
"""How old served figures may be: counting a big store takes a moment, however often somebody asks."""
PREFIX: Final = "discord_memory"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

log = logging.getLogger(__name__)


class MetricsEndpoint:
    """Answers ``GET /metrics`` in Prometheus' text format.

    Args:
        services: whose figures.
        lag: how late the event loop is.
        host: the address to listen on.
        port: the port; 0 for a free one.
    """

    def __init__(self, services: SurfaceServices, lag: LoopLag, host: str, port: int) -> None:
        self._services = services
        self._lag = lag
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._registry: CollectorRegistry | None = None
        self._figures: OperatorFigures | None = None
        self._gathered_at = -math.inf

    @property
    def address(self) -> str:
        """Where it listens, as ``host:port``; empty before `start`."""
        if self._runner is None or not self._runner.addresses:
            return ""
        host, port = self._runner.addresses[0][:2]
        return f"{host}:{port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            MemoryCogError: prometheus-client is not installed, or the address cannot be listened on.
        """
        try:
            from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
        except ImportError as error:
            raise MemoryCogError("METRICS_PORT needs prometheus-client: pip install -r requirements.txt.") from error
        from aiohttp import web

        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self.close()
            reason = error.strerror or type(error).__name__
            raise MemoryCogError(f"Metrics cannot be served on {self._host}:{self._port}: {reason}.") from error
        if self._host not in _LOOPBACK:
            log.warning("Metrics are served to whoever reaches %s: nothing there asks for a password", self.address)
        log.info("Metrics at http://%s/metrics", self.address)

    async def close(self) -> None:
        """Stop listening; may be called twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def describe(self) -> list[Metric]:
        """Name nothing at registration: the figures are known when they are asked for."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures gathered last, as Prometheus' collectors do."""
        if self._figures is not None:
            yield from memory_metrics(self._figures)
            yield from surface_metrics(self._services)

    async def _answer(self, _: web.Request) -> web.Response:
        from aiohttp import web
        from prometheus_client import generate_latest
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

        if time.monotonic() - self._gathered_at > FRESH_S:
            try:
                self._figures = await operator_figures(self._services.memory, self._lag)
            except StoreError as error:
                return web.Response(status=503, text=f"{error}\n")
            self._gathered_at = time.monotonic()
        if self._registry is None:
            return web.Response(status=503)
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def memory_metrics(figures: OperatorFigures) -> Iterator[Metric]:
    """Yield what `/memory stats` shows, in base units: seconds, bytes, ratios."""
    store = figures.store
    yield _gauge("messages", "Messages in the store.", store.messages)
    yield _gauge("guilds", "Servers with messages in the store.", store.guilds)
    yield _gauge("messages_awaiting_embedding", "Messages that are found by their words alone so far.", store.awaiting)
    yield _gauge("tombstones", "Marks of deleted messages.", store.tombstones)
    yield _gauge("store_bytes", "Size of the store on disk.", store.bytes_on_disk)
    yield _gauge("index_ready_ratio", "Share of the vectors that the index holds.", store.index_ready)
    yield _quantiles("recall_seconds", "Times of the last recalls.", figures.recall_ms)
    yield _gauge("recalls_measured", "Recalls behind recall_seconds.", len(figures.recall_ms))
    yield _quantiles("loop_lag_seconds", "How late the event loop was in the last half minute.", figures.loop_lag_ms)
    yield _gauge("ingest_messages_per_second", "Messages embedded per second, lately.", figures.ingest_rate)
    yield _gauge("ingest_events_waiting", "Events that the store has not applied yet.", figures.events_waiting)
    for group, named in (("embedder", figures.embedder), ("reranker", figures.reranker), ("cache", figures.caches)):
        for name, value in named.items():
            if isinstance(value, int | float):
                yield _gauge(f"{group}_{name}", f"{name} of /memory stats.", value)


def surface_metrics(services: SurfaceServices) -> Iterator[Metric]:
    """Yield what the cogs count, and what serves."""
    from prometheus_client.metrics_core import InfoMetricFamily

    bot, memory, events, failures = services.bot, services.memory, services.events, services.failures
    yield _gauge("gateway_events_waiting", "Events that the memory was not told of yet.", events.waiting)
    yield _counter("gateway_events_dropped", "Messages that found no room; read again later.", events.dropped)
    yield _counter("gateway_events_given_up", "Events that failed for a reason nobody foresaw.", events.given_up)
    yield _counter("ingest_events_refused", "Events that no store could take.", memory.queue.refused)
    yield _counter("errors", "Failures that were answered with an error id.", failures.unexpected)
    yield _counter("interactions_expired", "Interactions that were over before the answer.", failures.expired)
    yield _gauge("connected_guilds", "Servers that the bot is on.", len(bot.guilds))
    yield _gauge("gateway_latency_seconds", "Latency of the gateway's heartbeat.", bot.latency)
    yield InfoMetricFamily(
        PREFIX,
        "What serves.",
        value={
            "profile": memory.profile.name,
            "embedder": memory.embedding.space.model,
            "reranker": memory.reranker.name,
        },
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    return CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _quantiles(name: str, text: str, ordered_ms: Sequence[float]) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    metric = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["quantile"])
    for percent in (50, 95, 99):
        value = percentile(ordered_ms, percent)
        if value is not None:
            metric.add_metric([str(percent / 100)], value / 1000)
    return metric
