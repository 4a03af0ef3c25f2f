from __future__ import annotations

import json
from dataclasses import replace

import pytest
from gridloom_services.scheduler.runtime.base import OutputFile, Phase
from gridloom_services.scheduler.runtime.kubernetes.report import UnitFacts, statuses
from gridloom_services.scheduler.runtime.kubernetes.verdicts import Verdict, trouble_of
from gridloom_services.scheduler.runtime.units import Unit
from gridloom_services.scheduler.states import FailureClass

UNIT = Unit("main", "n1", colocated=False, known=(0,), wanted=(0,))
STARTED, FINISHED = "2026-01-02T03:04:05Z", "2026-01-02T03:04:09Z"
AT = 1767323049.0


def terminated(code: int = 0, reason: str = "Completed", **more: object) -> dict:
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "startedAt": STARTED,
            "finishedAt": FINISHED,
            **more,
        }
    }


def farewell(**record: object) -> dict:
    return terminated(message=json.dumps({"logs": {}, **record}))


RUNNING = {"running": {"startedAt": STARTED}}


def pod(command: dict | None = None, sidecar: dict | None = None, **status: object) -> dict:
    made: dict = {"metadata": {"name": "p"}, "status": {"phase": "Pending", **status}}
    if command is not None:
        made["status"]["containerStatuses"] = [
            {"name": "command", "image": "x:1", "state": command}
        ]
    if sidecar is not None:
        made["status"].setdefault("initContainerStatuses", []).append(
            {"name": "gridloom", "image": "w:1", "state": sidecar}
        )
    return made


def over(command: dict, sidecar: dict | None = None, **status: object) -> dict:
    code = command["terminated"]["exitCode"]
    return pod(command, sidecar or farewell(), phase="Failed" if code else "Succeeded", **status)


def told(of: dict | None, **facts: object):
    (status,) = statuses(UnitFacts("job_a-a1", UNIT, of, made=True, **facts))
    return status


def disrupted(reason: str) -> dict:
    return {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason}]}


def test_a_pod_that_is_not_made_yet_is_starting():
    (status,) = statuses(UnitFacts("job_a-a1", UNIT))
    assert (status.phase, status.node, status.log_index) == (Phase.STARTING, "n1", 0)


def test_a_pod_is_running_when_its_command_is():
    assert told(pod()).phase is Phase.STARTING
    assert told(pod({"waiting": {"reason": "PodInitializing"}}, RUNNING)).phase is Phase.STARTING
    status = told(pod(RUNNING, RUNNING, phase="Running"))
    assert (status.phase, status.started_at) == (Phase.RUNNING, AT - 4)


def test_a_command_that_is_over_is_not_reported_before_its_sidecar_is():
    storing = pod(terminated(), RUNNING, phase="Running")
    assert told(storing).phase is Phase.RUNNING
    assert told(pod(terminated(), RUNNING, phase="Succeeded")).phase is Phase.RUNNING


def test_a_good_end():
    end = told(over(terminated(), farewell(cpu=1.5, peak=1000)))
    assert end.succeeded
    assert (end.exit_code, end.signal, end.reason, end.ended_at) == (0, 0, "", AT)
    assert (end.cpu_seconds, end.peak_memory_bytes) == (1.5, 1000)


@pytest.mark.parametrize(
    ("code", "signal"), [(7, 0), (127, 0), (134, 6), (137, 9), (143, 15), (255, 0)]
)
def test_a_bad_end_is_the_commands_own(code, signal):
    end = told(over(terminated(code, "Error")))
    assert (end.exit_code, end.signal) == (code, signal)
    assert end.failure_class is FailureClass.APPLICATION_ERROR
    assert end.reason == f"exit code {code}"


def test_what_the_sidecar_ended_it_for_stands_first():
    orders = farewell(**{"class": "TIME_LIMIT", "reason": "the time limit of 2 s"})
    end = told(over(terminated(143, "Error"), orders))
    assert (end.failure_class, end.reason, end.signal) == (
        FailureClass.TIME_LIMIT,
        "the time limit of 2 s",
        15,
    )


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        ({"reason": "Evicted", "message": "The node was low on"}, FailureClass.EVICTED),
        ({"reason": "DeadlineExceeded"}, FailureClass.TIME_LIMIT),
        ({"reason": "NodeLost"}, FailureClass.NODE_LOST),
        ({"reason": "Terminated", "message": "node shutdown"}, FailureClass.NODE_LOST),
        ({"reason": "Preempting"}, FailureClass.PREEMPTED),
        ({"reason": "OutOfcpu"}, FailureClass.UNSCHEDULABLE),
        ({"reason": "OutOfnvidia.com/gpu"}, FailureClass.UNSCHEDULABLE),
        ({"reason": "UnexpectedAdmissionError"}, FailureClass.UNSCHEDULABLE),
        (disrupted("PreemptionByScheduler"), FailureClass.PREEMPTED),
        (disrupted("DeletionByTaintManager"), FailureClass.NODE_LOST),
        (disrupted("DeletionByPodGC"), FailureClass.NODE_LOST),
        (disrupted("EvictionByEvictionAPI"), FailureClass.EVICTED),
        (disrupted("TerminationByKubelet"), FailureClass.EVICTED),
    ],
)
def test_what_befell_the_pod_is_the_failure(status, failure):
    end = told(over(terminated(137, "Error"), **status))
    assert end.failure_class is failure
    assert end.reason
    assert told(pod(phase="Failed", **status)).failure_class is failure


def test_a_command_that_ended_well_before_its_pod_was_disturbed_has_ended_well():
    assert told(over(terminated(0), **disrupted("EvictionByEvictionAPI"))).succeeded


@pytest.mark.parametrize(
    ("reason", "code", "failure"),
    [
        ("OOMKilled", 137, FailureClass.OUT_OF_MEMORY),
        ("ContainerStatusUnknown", 137, FailureClass.NODE_LOST),
        ("StartError", 128, FailureClass.APPLICATION_ERROR),
        ("ContainerCannotRun", 127, FailureClass.APPLICATION_ERROR),
    ],
)
def test_why_the_container_ended_is_the_failure(reason, code, failure):
    end = told(over(terminated(code, reason)))
    assert end.failure_class is failure
    assert end.exit_code == (None if failure is FailureClass.NODE_LOST else code)


def test_a_pod_that_somebody_deleted_was_evicted_unless_we_had_asked():
    deleted = over(terminated(143, "Error"))
    deleted["metadata"]["deletionTimestamp"] = FINISHED
    assert told(deleted).failure_class is FailureClass.EVICTED
    end = told(deleted, stop="enough")
    assert (end.failure_class, end.reason) == (FailureClass.CANCELLED, "enough")


def test_a_pod_that_is_gone_without_a_word_is_lost_unless_it_was_to_end():
    gone = told(None, is_gone=True)
    assert (gone.phase, gone.failure_class) == (Phase.ENDED, FailureClass.NODE_LOST)
    assert gone.exit_code is None
    assert told(pod(RUNNING), is_gone=True, stop="enough").failure_class is FailureClass.CANCELLED
    preempted = pod(RUNNING, **disrupted("PreemptionByScheduler"))
    assert told(preempted, is_gone=True).failure_class is FailureClass.PREEMPTED


def test_a_verdict_that_was_written_down_stands_above_the_pod():
    verdict = Verdict(FailureClass.IMAGE_NOT_FOUND, "image x", None, 5.0)
    end = told(pod(RUNNING), verdict=verdict)
    assert (end.failure_class, end.reason, end.ended_at) == (verdict.failure_class, "image x", 5.0)


def test_staging_that_failed_says_whose_fault_it_was():
    failed = pod(phase="Failed")
    message = json.dumps({"class": "APPLICATION_ERROR", "reason": "no object", "logs": {}})
    failed["status"]["initContainerStatuses"] = [
        {"name": "gridloom-files", "state": terminated(1, "Error", message=message)}
    ]
    end = told(failed)
    assert (end.failure_class, end.reason, end.exit_code) == (
        FailureClass.APPLICATION_ERROR,
        "no object",
        125,
    )


def test_outputs_that_were_not_stored_spoil_a_good_end():
    end = told(over(terminated(), farewell(trouble="no way to the store")))
    assert (end.failure_class, end.reason) == (FailureClass.NODE_LOST, "no way to the store")
    silent = over(terminated(), terminated(137, "Error"))
    assert told(silent, wants_outputs=True).failure_class is FailureClass.NODE_LOST
    assert told(silent).succeeded


def test_outputs_are_told_with_the_end():
    listed = over(terminated(), farewell(outputs=[["a.txt", "sha256:0", 3, 0o644]]))
    assert told(listed).outputs == (OutputFile("a.txt", "sha256:0", 3, 0o644),)
    many = (OutputFile("b.txt", "sha256:1", 4),)
    assert told(over(terminated()), outputs=many).outputs == many


def shared(of: dict, **facts: object):
    unit = replace(UNIT, colocated=True, known=(0, 1, 2), wanted=(0, 1, 2))
    return list(statuses(UnitFacts("job_a-a1", unit, of, made=True, **facts)))


def test_replicas_that_share_a_pod_end_with_it_and_are_counted_once():
    ends = shared(over(terminated(4, "Error"), farewell(cpu=2.0)))
    assert [end.exit_code for end in ends] == [4, 4, 4]
    assert [end.log_index for end in ends] == [0, 0, 0]
    assert [end.cpu_seconds for end in ends] == [2.0, 0.0, 0.0]


def test_a_replica_may_end_before_the_pod_that_it_shares():
    record = {"ended": {"0": [0, 0, "NONE", 7.0]}, "cpu": 2.0}
    ends = shared(over(terminated(4, "Error"), farewell(**record)))
    assert [end.exit_code for end in ends] == [0, 4, 4]
    assert [end.cpu_seconds for end in ends] == [0.0, 2.0, 0.0]


@pytest.mark.parametrize(
    ("reason", "failure", "patience"),
    [
        ("InvalidImageName", FailureClass.IMAGE_NOT_FOUND, ""),
        ("ErrImageNeverPull", FailureClass.IMAGE_NOT_FOUND, ""),
        ("ErrImagePull", FailureClass.IMAGE_NOT_FOUND, "image"),
        ("ImagePullBackOff", FailureClass.IMAGE_NOT_FOUND, "image"),
        ("CreateContainerError", FailureClass.APPLICATION_ERROR, ""),
        ("CreateContainerConfigError", FailureClass.APPLICATION_ERROR, "image"),
    ],
)
def test_a_container_that_cannot_begin_is_trouble(reason, failure, patience):
    trouble = trouble_of(pod({"waiting": {"reason": reason, "message": "manifest unknown."}}))
    assert trouble is not None
    assert (trouble.verdict.failure_class, trouble.patience) == (failure, patience)
    assert trouble.verdict.reason.endswith(f"{reason}: manifest unknown")


def test_a_pod_without_room_is_trouble_and_one_that_is_pulled_is_not():
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    trouble = trouble_of(pod(conditions=[{**unplaced, "message": "Insufficient cpu"}]))
    assert trouble is not None
    assert trouble.verdict.failure_class is FailureClass.UNSCHEDULABLE
    assert trouble.verdict.reason == "it finds no room on its node: Insufficient cpu"
    assert trouble.patience == "room"
    assert trouble_of(pod({"waiting": {"reason": "ContainerCreating"}})) is None


def test_verdicts_are_read_back_as_they_were_written():
    verdict = Verdict(FailureClass.EVICTED, "why", 3, 7.5)
    assert Verdict.from_record(verdict.to_record()) == verdict
