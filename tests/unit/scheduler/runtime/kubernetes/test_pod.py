from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from gridloom_services.scheduler.runtime.base import (
    Assignment,
    Gang,
    GangRole,
    InputFile,
    Secret,
    Volume,
)
from gridloom_services.scheduler.runtime.kubernetes.flavours import Flavour
from gridloom_services.scheduler.runtime.kubernetes.manifests import (
    owner_manifest,
    policy_manifest,
    service_manifest,
    token_manifest,
)
from gridloom_services.scheduler.runtime.kubernetes.plan import PodPlan, repository_of
from gridloom_services.scheduler.runtime.kubernetes.pod import PodSite, pod_manifest
from gridloom_services.scheduler.runtime.kubernetes.units import first_units

GOLDEN = Path(__file__).parent / "golden"
PLAN = PodPlan("registry.example/gridloom/worker:0.1.0-py3.11")
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "job-a-a1", "uid": "u-1"}}
SITE = PodSite(OWNER)

SMALL = Gang(
    "job_a-a1",
    "job_a",
    1,
    (GangRole("main", (0,), ("echo", "$HOME", "$(X)"), resources={"cpu": 500, "memory": 1 << 30}),),
    env={"GRIDLOOM_ADDRESS": "http://gridloom:7777"},
    token="a-token",
    time_limit_s=60.0,
)
LARGE = Gang(
    "job_b.7-a2",
    "job_b",
    2,
    (
        GangRole(
            "train",
            (0, 1),
            ("train", "--epochs", "3"),
            colocate=True,
            image="pytorch/pytorch:2.9",
            env={"EPOCHS": "3"},
            files=(InputFile("train.py", "sha256:" + "0" * 64, 7),),
            outputs=("model/**",),
            resources={
                "cpu": 4000,
                "memory": 8 << 30,
                "nvidia.com/gpu": 1,
                "nvidia.com/mig-1g.5gb": 2,
            },
            volumes=(Volume("data", "/data", read_only=True), Volume("data", "/scratch")),
            secrets=(
                Secret("wandb", "key", "WANDB_API_KEY"),
                Secret("ssh", "id", "/etc/keys/id"),
            ),
        ),
    ),
    element=7,
)
A100 = Flavour(
    "a100",
    {"gpu": "a100"},
    ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
)


def unit_of(gang: Gang, node: str = "node-1"):
    (unit,) = first_units(
        gang,
        tuple(Assignment(role.name, index, node) for role in gang.roles for index in role.replicas),
    ).values()
    return unit


def with_role(gang: Gang, **changes: object) -> Gang:
    return replace(gang, roles=(replace(gang.roles[0], **changes),))


def command_of(pod: dict) -> dict:
    (container,) = pod["spec"]["containers"]
    return container


def env_of(container: dict) -> dict:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


MANIFESTS = {
    "owner.yaml": lambda: owner_manifest(SMALL, {"main.0": unit_of(SMALL)}, {"team": "x"}, OWNER),
    "token.yaml": lambda: token_manifest(SMALL, {}, OWNER),
    "service.yaml": lambda: service_manifest(LARGE, {}, OWNER),
    "policy.yaml": lambda: policy_manifest(LARGE, {}, OWNER),
    "small.yaml": lambda: pod_manifest(SMALL, unit_of(SMALL), PLAN, SITE),
    "large.yaml": lambda: pod_manifest(
        LARGE,
        unit_of(LARGE, "gpu-1"),
        replace(
            PLAN, pull_secrets=("pull",), priority_class="jobs", ca_secret="ca", cpu_limits=True
        ),
        PodSite(OWNER, A100, subdomain=True, hosts="train-0.job-b-7-a2@gpu-1=0-1"),
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_those_written_down(name):
    """`GOLDEN=1 pytest ...` writes them anew: read the difference before it is committed."""
    path, manifest = GOLDEN / name, MANIFESTS[name]()
    if os.environ.get("GOLDEN"):
        path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    assert manifest == yaml.safe_load(path.read_text())


def test_a_pod_is_pinned_by_affinity_and_leaves_the_choice_to_the_clusters_scheduler():
    spec = pod_manifest(SMALL, unit_of(SMALL), PLAN, SITE)["spec"]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term == {
        "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]
    }
    assert "nodeName" not in spec


def test_dollars_reach_the_command_as_they_are():
    command = command_of(pod_manifest(SMALL, unit_of(SMALL), PLAN, SITE))["command"]
    assert command[-3:] == ["echo", "$$HOME", "$$(X)"]
    assert [part.replace("$$", "$") for part in command[2:3]] == [
        'echo $$ >"$0/pid"; exec "$@" >>"$0/stdout" 2>>"$0/stderr"'
    ]


def test_no_token_and_no_value_of_a_secret_is_in_a_pod():
    pod = pod_manifest(SMALL, unit_of(SMALL), PLAN, SITE)
    assert "a-token" not in str(pod)
    assert env_of(command_of(pod))["GRIDLOOM_TOKEN"] == {
        "secretKeyRef": {"name": "job-a-a1-token", "key": "token"}
    }
    assert "a-token" not in str(owner_manifest(SMALL, {}, {}, None))


def test_nothing_runs_as_root_or_with_rights():
    pod = pod_manifest(LARGE, unit_of(LARGE), PLAN, SITE)
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["spec"]["containers"], *pod["spec"]["initContainers"]):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_root_of_our_images_is_read_only_and_others_may_write_to_theirs():
    own = pod_manifest(SMALL, unit_of(SMALL), PLAN, SITE)
    other = with_role(SMALL, image="busybox")
    assert command_of(own)["securityContext"]["readOnlyRootFilesystem"] is True
    foreign = command_of(pod_manifest(other, unit_of(other), PLAN, SITE))
    assert foreign["securityContext"]["readOnlyRootFilesystem"] is False


def test_another_python_of_our_worker_image_is_ours():
    role = with_role(SMALL, image="registry.example/gridloom/worker:0.1.0-py3.13")
    pod = pod_manifest(role, unit_of(role), PLAN, SITE)
    assert command_of(pod)["command"][0] == "/bin/sh"
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["gridloom"]


def test_an_image_that_may_have_no_shell_is_lent_one():
    other = with_role(SMALL, image="busybox")
    pod = pod_manifest(other, unit_of(other), PLAN, SITE)
    assert command_of(pod)["command"][0] == "/gridloom/bin/sh"
    assert [each["name"] for each in pod["spec"]["initContainers"]] == [
        "gridloom-files",
        "gridloom",
    ]


def test_replicas_that_share_a_pod_have_their_resources_together():
    resources = command_of(pod_manifest(LARGE, unit_of(LARGE), PLAN, SITE))["resources"]
    assert resources["requests"]["cpu"] == "8"
    assert resources["limits"] == {
        "memory": str(16 << 30),
        "nvidia.com/gpu": "2",
        "nvidia.com/mig-1g.5gb": "4",
    }


def test_our_own_containers_take_nothing_from_the_room_that_was_planned():
    pod = pod_manifest(LARGE, unit_of(LARGE), PLAN, SITE)
    for container in pod["spec"]["initContainers"]:
        assert container["resources"] == {"requests": {"cpu": "0", "memory": "0"}}


def test_the_deadline_of_the_pod_is_far_behind_the_time_limit():
    assert pod_manifest(SMALL, unit_of(SMALL), PLAN, SITE)["spec"]["activeDeadlineSeconds"] > 600
    endless = replace(SMALL, time_limit_s=None)
    assert "activeDeadlineSeconds" not in pod_manifest(endless, unit_of(SMALL), PLAN, SITE)["spec"]


def test_the_platforms_own_variables_cannot_be_set_by_a_job():
    role = with_role(SMALL, env={"GRIDLOOM_JOB_ID": "other", "HOME": "/home/me", "X": "1"})
    env = env_of(command_of(pod_manifest(role, unit_of(role), PLAN, SITE)))
    assert (env["GRIDLOOM_JOB_ID"], env["HOME"], env["X"]) == ("job_a", "/home/me", "1")


@pytest.mark.parametrize(
    ("workdir", "outputs", "volumes", "expected"),
    [
        ("", (), (), True),
        ("/data/here", ("x",), (Volume("c", "/data"),), False),
        ("/app", (), (), False),
        ("/app", ("x",), (), True),
    ],
)
def test_the_working_folder_is_a_volume_unless_it_is_a_claims_or_the_images(
    workdir, outputs, volumes, expected
):
    role = with_role(SMALL, workdir=workdir, outputs=outputs, volumes=volumes)
    pod = pod_manifest(role, unit_of(role), PLAN, SITE)
    assert ("work" in {volume["name"] for volume in pod["spec"]["volumes"]}) is expected
    assert command_of(pod)["workingDir"] == (workdir or "/gridloom/work")


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("a/b:1", "a/b"),
        ("host:5000/a/b", "host:5000/a/b"),
        ("host:5000/a/b:1@sha256:0", "host:5000/a/b"),
        ("b", "b"),
    ],
)
def test_a_repository_is_an_image_without_tag_and_digest(image, repository):
    assert repository_of(image) == repository
