from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.common.metrics import PrometheusMetrics
from gridloom_services.scheduler.metrics import SchedulerMetrics

from tests.support.scheduler import Platform, a_role, a_spec

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_happens_is_counted(tmp_path: Path):
    metrics = PrometheusMetrics()
    platform = Platform(tmp_path, metrics=SchedulerMetrics(metrics))
    await platform.begin()
    job_id, _ = await platform.submit(a_spec(a_role(cpu=3000)), a_spec(a_role(cpu=2000)))

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"gridloom_scheduler_{name}", labels)

    assert value("jobs_submitted_total", queue="default/default", kind="command") == 2
    assert value("jobs", state="running") == 1
    assert value("jobs", state="queued") == 1
    assert value("resource_free_amount", resource="cpu") == 1000
    await platform.finish(f"{job_id}-a1", exit_code=1)
    assert value("jobs_ended_total", queue="default/default", state="failed") == 1
    assert value("attempts_ended_total", failure_class="application error") == 1
    assert value("wait_seconds_count") == 1
    assert value("jobs", state="queued") == 0
    assert (value("plan_seconds_count") or 0) >= 1
    assert (value("commit_seconds_count") or 0) >= 1
    await platform.end()
