"""Values that are wrong are refused with a sentence that says where and what."""

import pytest

from tests.support.chart import refusal, setting

pytestmark = pytest.mark.helm


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"scheduler__replica": 2}, ["/scheduler", "'replica' not allowed"]),
        ({"frnt__replicas": 2}, ["'frnt' not allowed"]),
        ({"front__service__type": "Nodeport"}, ["/front/service/type", "'NodePort'"]),
        ({"front__replicas": "two"}, ["/front/replicas", "want integer"]),
        ({"front__resources__request__cpu": 1}, ["/front/resources", "'request' not allowed"]),
        ({"scheduler__settings__histry_days": 3}, ["/scheduler/settings", "'histry_days'"]),
        ({"postgresql__persistence__size": "8GB"}, ["/postgresql/persistence/size"]),
        ({"images__scheduler__digest": "latest"}, ["/images/scheduler/digest"]),
        ({"projects__chem__queues__cpu__maxTimeLimit": "long"}, ["/projects/chem/queues/cpu"]),
        ({"projects__chem__queues__cpu__quota__memory": "2Ti"}, ["/projects/chem/queues/cpu"]),
        ({"tls__internal__mode": "on"}, ["/tls/internal/mode", "'selfSigned'"]),
        ({"tls__internal__secret": "mine"}, ["/tls/internal", "'secret' not allowed"]),
        ({"jobs__flavours__a100__tolerations": []}, ["/jobs/flavours/a100"]),
    ],
)
def test_a_typing_error_is_named_with_its_place(values, said):
    message = refusal(*setting(**values))
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"address__gateway__enabled": True}, "address.host is empty"),
        ({"address__ingress__enabled": True}, "address.host is empty"),
        ({"front__enabled": False}, "address.host is empty"),
        ({"tls__mode": "secret"}, "set tls.existingSecret"),
        ({"tls__mode": "certManager"}, "set tls.certManager.issuer.name"),
        ({"tls__internal__mode": "secret"}, "set tls.internal.existingSecret"),
        ({"tls__internal__mode": "certManager"}, "set tls.internal.certManager.issuer.name"),
        (
            {"front__enabled": False, "address__host": "hpc.example.org"},
            "set front.enabled to true, or tls.internal.mode to off",
        ),
        ({"postgresql__enabled": False}, "set database.existingSecret"),
        ({"database__existingSecret": "mine"}, "set postgresql.enabled to false"),
    ],
)
def test_values_that_need_each_other_are_named(values, said):
    assert said in refusal(*setting(**values))


def test_everything_that_does_not_fit_is_said_at_once():
    message = refusal(*setting(tls__mode="secret", postgresql__enabled=False))
    assert "tls.existingSecret" in message
    assert "database.existingSecret" in message
