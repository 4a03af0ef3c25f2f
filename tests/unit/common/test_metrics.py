from __future__ import annotations

import sys
import urllib.request

from gridloom_services.common.metrics import NO_METRICS, MetricsServer, PrometheusMetrics


def test_instruments_that_are_off_take_everything_and_do_nothing():
    NO_METRICS.counter("a", "A.", ["x"]).labels("1").inc(2)
    NO_METRICS.gauge("b", "B.").set(1)
    NO_METRICS.histogram("c", "C.").observe(1)
    assert not NO_METRICS.is_on


def test_the_port_tells_what_was_counted():
    metrics = PrometheusMetrics()
    metrics.counter("gridloom_test_things", "Things.", ["kind"]).labels("good").inc(3)
    metrics.gauge("gridloom_test_level", "Level.").set(2.5)
    metrics.histogram("gridloom_test_seconds", "Length.", buckets=(1, 2)).observe(1.5)
    server = MetricsServer(metrics.registry, "127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.close()
    for line in (
        'gridloom_test_things_total{kind="good"} 3.0',
        "gridloom_test_level 2.5",
        'gridloom_test_seconds_bucket{le="1.0"} 0.0',
        'gridloom_test_seconds_bucket{le="2.0"} 1.0',
    ):
        assert line in text.splitlines()
    assert sys.platform != "linux" or "process_resident_memory_bytes" in text


def test_each_process_has_a_registry_of_its_own():
    for _ in range(2):
        PrometheusMetrics().counter("gridloom_test_twice", "Made twice.").inc()
