"""What the pods of the platform may do, and who may speak with them."""

import pytest
import yaml
from gridloom_services.scheduler.runtime.kubernetes.permissions import FOR_POLICIES, NEEDED

from tests.support.chart import (
    EXAMPLES,
    SERVICES,
    environment,
    example,
    manifests,
    named,
    of_kind,
    pod_specs,
    setting,
)

pytestmark = pytest.mark.helm

EVERY = ["", *EXAMPLES]


@pytest.mark.parametrize("name", EVERY)
def test_no_container_has_a_privilege(name):
    for _, spec in pod_specs(*example(name)):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] >= 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"] + spec.get("initContainers", []):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("name", EVERY)
def test_only_the_scheduler_holds_a_token_of_the_cluster(name):
    holders = {
        whose for whose, spec in pod_specs(*example(name)) if spec["automountServiceAccountToken"]
    }
    assert holders == {"Deployment gridloom-scheduler"}
    for account in of_kind("ServiceAccount", *example(name)):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", EVERY)
def test_variables_of_service_links_never_meet_our_settings(name):
    for _, spec in pod_specs(*example(name)):
        assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize("name", EVERY)
def test_no_secret_stands_outside_of_a_secret(name):
    for found in manifests(*example(name)):
        if found["kind"] != "Secret":
            assert "glk_" not in yaml.safe_dump(found)
            assert "BEGIN" not in yaml.safe_dump(found)


def test_the_first_administrators_key_is_mounted_by_the_scheduler_and_the_test_alone():
    mounts = {
        whose
        for whose, spec in pod_specs(*example("production"))
        for volume in spec["volumes"]
        for item in volume.get("secret", {}).get("items", ())
        if item["key"] == "admin-key"
    }
    assert mounts == {
        "Deployment gridloom-scheduler",
        "Job gridloom-projects",
        "Pod gridloom-test",
    }


@pytest.mark.parametrize("name", EVERY)
def test_every_pod_that_lasts_has_a_policy_both_ways(name):
    policies = of_kind("NetworkPolicy", *example(name))
    covered = {
        policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: policy
        for policy in policies
    }
    lasting = {
        found["metadata"]["labels"]["app.kubernetes.io/component"]
        for kind in ("Deployment", "StatefulSet")
        for found in of_kind(kind, *example(name))
    }
    assert covered.keys() == lasting | {"job"}
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def callers(component):
    """The components that a component's policy lets in."""
    found = set()
    for rule in named("NetworkPolicy", component)["spec"]["ingress"]:
        for peer in rule.get("from", ()):
            for expression in peer.get("podSelector", {}).get("matchExpressions", ()):
                found |= set(expression["values"])
    return found


def callees(component):
    """The components that a component's policy lets it call."""
    found = set()
    for rule in named("NetworkPolicy", component)["spec"]["egress"]:
        for peer in rule.get("to", ()):
            for expression in peer.get("podSelector", {}).get("matchExpressions", ()):
                found |= set(expression["values"])
    return found


def test_whoever_may_call_is_let_in_there():
    for caller in (*SERVICES, "front"):
        for callee in callees(caller):
            assert caller in callers(callee), f"{caller} -> {callee}"


def test_the_database_is_for_the_services_and_their_migrations_alone():
    assert callers("postgresql") == {*SERVICES, "migrations"} - {"mpi"}


def test_pods_of_jobs_let_in_nobody_unless_their_gang_says_so():
    assert named("NetworkPolicy", "job")["spec"]["ingress"] == []
    assert environment("scheduler")["GRIDLOOM_SCHEDULER_KUBERNETES_NETWORK_POLICIES"] == "true"


def test_jobs_of_an_air_gapped_site_reach_nothing_outside():
    def blocks(name):
        egress = named("NetworkPolicy", "job", *example(name))["spec"]["egress"]
        return [peer for rule in egress for peer in rule.get("to", ()) if "ipBlock" in peer]

    assert blocks("air-gapped") == []
    (outside,) = blocks("laptop")
    assert outside["ipBlock"]["except"] == ["169.254.169.254/32"]


def allowed(kind, *words):
    """What the rules of a Role or ClusterRole allow: (verb, resource, group)."""
    (role,) = of_kind(kind, *words)
    return {
        (verb, resource, group)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
    }


@pytest.mark.parametrize(("kind", "everywhere"), [("Role", False), ("ClusterRole", True)])
def test_the_scheduler_may_do_what_its_runtime_needs_and_nothing_else(kind, everywhere):
    def needed(permissions):
        return {(p.verb, p.kind, p.group) for p in permissions if p.everywhere is everywhere}

    assert allowed(kind) == needed(NEEDED + FOR_POLICIES)
    assert allowed(kind, *setting(networkPolicies__enabled=False)) == needed(NEEDED)


def test_nothing_in_the_whole_cluster_is_written():
    assert {verb for verb, *_ in allowed("ClusterRole")} <= {"get", "list", "watch"}


def test_roles_are_bound_to_the_scheduler_alone():
    subjects = [
        subject["name"]
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for binding in of_kind(kind)
        for subject in binding["subjects"]
    ]
    assert subjects == ["gridloom-scheduler", "gridloom-scheduler"]


def test_jobs_in_another_namespace_take_the_role_there():
    words = setting(jobs__namespace="work")
    (role,) = of_kind("Role", *words)
    assert role["metadata"]["namespace"] == "work"
    (binding,) = of_kind("RoleBinding", *words)
    assert binding["subjects"][0]["namespace"] == "gridloom"
