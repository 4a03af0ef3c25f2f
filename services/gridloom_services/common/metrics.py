"""Counters, gauges and histograms. Off, they are objects that do nothing, and nothing is imported.

Names are `gridloom_<service>_<noun>_<unit>`; labels are bounded (queue, kind, reason), never a job,
a user or a pod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Counter(Protocol):
    """Only grows."""

    def labels(self, *values: str) -> Counter:
        """The counter for these label values. Keep it: looking it up costs more than counting."""
        ...

    def inc(self, amount: float = 1) -> None:
        """Count."""
        ...


class Gauge(Protocol):
    """Has a present value."""

    def labels(self, *values: str) -> Gauge:
        """The gauge for these label values."""
        ...

    def set(self, value: float) -> None:
        """Say the present value."""
        ...


class Histogram(Protocol):
    """Has a distribution."""

    def labels(self, *values: str) -> Histogram:
        """The histogram for these label values."""
        ...

    def observe(self, amount: float) -> None:
        """Add one observation."""
        ...


class Metrics(Protocol):
    """Makes the instruments of one process. Ask for each once, at composition."""

    @property
    def is_on(self) -> bool:
        """Somebody may read them."""
        ...

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """A new counter; `name` without "_total"."""
        ...

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """A new gauge."""
        ...

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = _SECONDS,
    ) -> Histogram:
        """A new histogram."""
        ...


class _Nothing:
    def labels(self, *values: str) -> Self:
        del values
        return self

    def inc(self, amount: float = 1) -> None:
        del amount

    def set(self, value: float) -> None:
        del value

    def observe(self, amount: float) -> None:
        del amount


_NOTHING = _Nothing()


class NoMetrics:
    """Instruments that do nothing."""

    is_on = False

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """Nothing."""
        del name, documentation, labels
        return _NOTHING

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """Nothing."""
        del name, documentation, labels
        return _NOTHING

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = _SECONDS,
    ) -> Histogram:
        """Nothing."""
        del name, documentation, labels, buckets
        return _NOTHING


NO_METRICS = NoMetrics()


class PrometheusMetrics:
    """Instruments of `prometheus_client`, in a registry of their own."""

    is_on = True

    def __init__(self) -> None:
        from prometheus_client import (
            CollectorRegistry,
            GCCollector,
            PlatformCollector,
            ProcessCollector,
        )

        self.registry: CollectorRegistry = CollectorRegistry(auto_describe=True)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """A Prometheus counter."""
        import prometheus_client

        return prometheus_client.Counter(name, documentation, labels, registry=self.registry)

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """A Prometheus gauge."""
        import prometheus_client

        return prometheus_client.Gauge(name, documentation, labels, registry=self.registry)

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = _SECONDS,
    ) -> Histogram:
        """A Prometheus histogram."""
        import prometheus_client

        return prometheus_client.Histogram(
            name, documentation, labels, buckets=buckets, registry=self.registry
        )

    def add(self, collector: Collector) -> None:
        """Ask `collector` at each scrape, for what is cheaper to count elsewhere."""
        self.registry.register(collector)


class MetricsServer:
    """Answers Prometheus on a port of its own, from a thread."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Listen; OSError if that cannot be."""
        from prometheus_client import start_http_server

        self._server, self._thread = start_http_server(port, host, registry)
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
