"""What other suites promise, held against this cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.support.suites import run_suite

if TYPE_CHECKING:
    from tests.e2e.cluster.cluster import Cluster


def test_the_contract_of_runtimes_holds_here_too(cluster: Cluster, images: list[str]):
    # Each process has a namespace of its own.
    run_suite(cluster, "tests/contract/test_runtime.py", processes=3)


def test_the_api_server_would_take_what_the_chart_renders(cluster: Cluster):
    run_suite(cluster, "tests/helm/test_valid.py")
