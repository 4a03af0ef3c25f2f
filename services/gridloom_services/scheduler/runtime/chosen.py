"""The runtime that the settings choose; its module is imported when chosen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gridloom_services.common.errors import SettingsError
from gridloom_services.scheduler.runtime.local import LocalRuntime, LocalSettings
from gridloom_services.scheduler.runtime.machine import Claim
from gridloom_services.scheduler.runtime.units import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom_services.scheduler.objects_client import ObjectsClient
    from gridloom_services.scheduler.runtime.base import Runtime
    from gridloom_services.scheduler.runtime.kubernetes.plan import KubernetesSettings
    from gridloom_services.scheduler.settings import SchedulerSettings


def chosen_runtime(settings: SchedulerSettings, objects: ObjectsClient, folder: Path) -> Runtime:
    """The runtime, not opened yet; it works in `folder`. SettingsError."""
    if settings.runtime == "kubernetes":
        return _kubernetes_runtime(settings, objects, folder)
    # A platform that is started again may listen elsewhere: its gangs find it in its home.
    environment = {"GRIDLOOM_HOME": str(folder.parent)}
    local = LocalSettings(
        claim=Claim(settings.cpus, settings.memory_bytes),
        limits=Limits(log_limit_bytes=settings.log_limit_bytes, env=environment),
    )
    return LocalRuntime(folder / "gangs", objects, os.environ, local)


def _kubernetes_runtime(
    settings: SchedulerSettings, objects: ObjectsClient, folder: Path
) -> Runtime:
    try:
        from gridloom_services.scheduler.runtime.kubernetes.runtime import KubernetesRuntime
    except ImportError as error:
        raise SettingsError(
            f"jobs as pods need {error.name}, which is not installed:"
            " pip install 'gridloom-platform[kubernetes]'",
            field="GRIDLOOM_SCHEDULER_RUNTIME",
        ) from error
    return KubernetesRuntime(kubernetes_settings(settings), objects, folder / "spool")


def kubernetes_settings(settings: SchedulerSettings) -> KubernetesSettings:
    """What the runtime of pods is told. SettingsError names what is missing."""
    from gridloom_services.scheduler.runtime.kubernetes.flavours import read_flavours
    from gridloom_services.scheduler.runtime.kubernetes.plan import KubernetesSettings, PodPlan

    for name in ("namespace", "worker_image"):
        if not getattr(settings, f"kubernetes_{name}"):
            key = f"GRIDLOOM_SCHEDULER_KUBERNETES_{name.upper()}"
            raise SettingsError(f"jobs as pods need {key}", field=key)
    pods = PodPlan(
        worker_image=settings.kubernetes_worker_image,
        own_images=settings.kubernetes_own_images,
        pull_policy=settings.kubernetes_pull_policy,
        pull_secrets=settings.kubernetes_pull_secrets,
        service_account=settings.kubernetes_service_account,
        priority_class=settings.kubernetes_priority_class,
        run_as_user=settings.kubernetes_run_as_user,
        labels=dict(map(_label, settings.kubernetes_labels)),
        ca_secret=settings.kubernetes_ca_secret,
        cpu_limits=settings.kubernetes_cpu_limits,
        network_policies=settings.kubernetes_network_policies,
        storing_s=settings.kubernetes_storing_s,
        lost_node_s=settings.kubernetes_lost_node_s,
        log_limit_bytes=settings.log_limit_bytes,
    )
    return KubernetesSettings(
        namespace=settings.kubernetes_namespace,
        pods=pods,
        flavours=read_flavours(settings.kubernetes_flavours),
        kubeconfig=settings.kubernetes_kubeconfig,
        context=settings.kubernetes_context,
        anchor=settings.kubernetes_anchor,
        image_patience_s=settings.kubernetes_image_patience_s,
        room_patience_s=settings.kubernetes_room_patience_s,
    )


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise SettingsError(
            f'GRIDLOOM_SCHEDULER_KUBERNETES_LABELS has "{text}"; KEY=VALUE is expected',
            field="GRIDLOOM_SCHEDULER_KUBERNETES_LABELS",
            given=text,
        )
    return key, value
