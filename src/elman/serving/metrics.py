"""Metrics for Prometheus; all names begin with `elman_`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Metrics:
    """The metrics of a server, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "elman_requests", "Requests by path and status", ["path", "method", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "elman_request_seconds", "Seconds of a request until its last byte", ["path"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.symbols = Counter("elman_symbols", "Symbols that were generated", registry=registry)
        self.batch_size = Histogram("elman_batch_size", "Sessions in a step", buckets=SIZES, registry=registry)
        self.step_seconds = Histogram(
            "elman_step_seconds", "Seconds of a batched step", buckets=SECONDS, registry=registry
        )
        self.queue_seconds = Histogram(
            "elman_queue_seconds", "Seconds before the first step", buckets=SECONDS, registry=registry
        )
        self.store_seconds = Histogram(
            "elman_store_seconds", "Seconds of a transaction of the store", buckets=SECONDS, registry=registry
        )
        self.store_operations = Counter("elman_store_operations", "Operations of the store", registry=registry)
        self.active = Gauge("elman_active_requests", "Generations that have a place", registry=registry)
        self.sessions = Gauge("elman_sessions", "Sessions in the store", registry=registry)
        self.streams = Gauge("elman_streams", "Open WebSockets", registry=registry)

    def observe_store(self, operations: int, seconds: float) -> None:
        """Count a transaction of the store."""
        self.store_operations.inc(operations)
        self.store_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' format."""
        return generate_latest(self.registry)
