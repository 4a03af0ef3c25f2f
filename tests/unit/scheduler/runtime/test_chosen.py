from __future__ import annotations

import pytest
from gridloom_services.common.errors import SettingsError
from gridloom_services.scheduler.runtime.chosen import kubernetes_settings
from gridloom_services.scheduler.settings import SchedulerSettings

GIVEN = {"kubernetes_namespace": "jobs", "kubernetes_worker_image": "gridloom/worker:1"}


def test_what_the_scheduler_is_told_reaches_the_pods():
    settings = kubernetes_settings(
        SchedulerSettings(
            **GIVEN,
            kubernetes_labels=("team=x",),
            kubernetes_flavours='{"gpu": {"nodeSelector": {"pool": "gpu"}}}',
            kubernetes_lost_node_s=5.0,
            kubernetes_anchor="gangs",
        )
    )
    assert (settings.namespace, settings.anchor) == ("jobs", "gangs")
    assert settings.pods.labels == {"team": "x"}
    assert settings.pods.lost_node_s == 5.0
    assert [flavour.name for flavour in settings.flavours] == ["gpu"]


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"kubernetes_namespace": ""}, "KUBERNETES_NAMESPACE"),
        ({"kubernetes_worker_image": ""}, "KUBERNETES_WORKER_IMAGE"),
        ({"kubernetes_labels": ("team",)}, "KUBERNETES_LABELS"),
        ({"kubernetes_flavours": "["}, "KUBERNETES_FLAVOURS"),
    ],
)
def test_what_is_missing_or_wrong_is_named(changed, key):
    with pytest.raises(SettingsError, match=key):
        kubernetes_settings(SchedulerSettings(**{**GIVEN, **changed}))
