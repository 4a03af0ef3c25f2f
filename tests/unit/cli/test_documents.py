"""What programs read: documents have the keys that docs/command-line.md names, and no others."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gridloom.access.info import read_entry, read_identity, read_key, read_member
from gridloom.api.scheduler.v1 import access_pb2, job_pb2
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.cli import documents
from gridloom.cli.lifecycle import platform_document
from gridloom.cli.profiles import profile_document
from gridloom.cli.scaling_running import study_document
from gridloom.context import Context
from gridloom.home import EmbeddedPlatform
from gridloom.inventory import FunctionInfo, PoolInfo
from gridloom.jobs.info import (
    Explanation,
    JobChange,
    JobEvent,
    ReplicaInfo,
    RoleInfo,
    read_job,
    read_node,
    read_queue,
)
from gridloom.jobs.logs import LogLine, Source
from gridloom.jobs.states import JobState, PendingReason
from gridloom.jobs.times import timestamp_of
from gridloom.profiles.profile import Profile

from tests.unit.sdk.jobs.examples import array, job
from tests.unit.sdk.studies.test_study import study

GUIDE = Path(__file__).parents[3] / "clients/python/docs/command-line.md"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
STAMP = timestamp_of(NOW)


def documented(noun: str) -> dict[str, str]:
    """Keys and types that the guide names for a noun."""
    section = GUIDE.read_text().partition(f"### {noun}\n")[2].partition("\n### ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE))


def finished_job() -> Any:
    message = job("FAILED", exit_code=3, failure_class=job_pb2.FAILURE_CLASS_APPLICATION_ERROR)
    message.replicas.add(role="main", state=job_pb2.JOB_STATE_FAILED)
    message.outputs.add(role="main", path="x")
    return read_job(message)


def profile(**fields: Any) -> Profile:
    return Profile("cprofile", 1.0, 1 << 20, 2 << 20, timings={}, stacks={}, **fields)


EXAMPLES = {
    "job": documents.job_document(finished_job()),
    "change": documents.change_document(JobChange(7, finished_job(), snapshot=False)),
    "line": documents.line_document(
        LogLine(Source(0, "main", 0, is_error=False, attempt=1), "text")
    ),
    "event": documents.event_document(
        JobEvent("job_1", 1, NOW, None, JobState.QUEUED, 1, "submitted")
    ),
    "explanation": documents.explanation_document(Explanation(PendingReason.HELD, "held")),
    "queue": documents.queue_document(read_queue(pb.Queue(name="q", quota={"cpu": 1}))),
    "node": documents.node_document(read_node(pb.Node(name="n"))),
    "pool": documents.plain(
        PoolInfo("p", "", "", "", "IDLE", "", "threads", 0, 0, 0, 0, 0, {}, None, "", NOW)
    ),
    "profile": profile_document(profile(by_rank={0: profile()}), 5),
    "study": study_document(study({1: [2.0, 2.1], 2: [1.2, 1.1]}), [Path("/s.json")]),
    "function": documents.plain(FunctionInfo("f", "d", 0, 0, 0, 0, 0.0)),
    "context": documents.context_document(Context("lab", address="x"), "lab"),
    "key": documents.plain(read_key(access_pb2.Key(id="k", created_at=STAMP), NOW)),
    "member": documents.plain(read_member(access_pb2.Member(user="ada", added_at=STAMP))),
    "entry": documents.plain(read_entry(access_pb2.AuditEntry(id="e", at=STAMP))),
    "identity": documents.plain(read_identity(access_pb2.WhoAmIResponse(name="ada"))),
    "platform": platform_document(EmbeddedPlatform(Path("/h")), None),
}
TYPES = {"string": str, "number": int | float, "boolean": bool, "object": dict, "array": list}


@pytest.mark.parametrize("noun", EXAMPLES)
def test_a_document_has_exactly_the_keys_that_the_guide_names(noun: str):
    assert list(EXAMPLES[noun]) == list(documented(noun))


@pytest.mark.parametrize("noun", EXAMPLES)
def test_values_are_of_the_type_that_the_guide_names(noun: str):
    for key, kinds in documented(noun).items():
        value = EXAMPLES[noun][key]
        kind, _, optional = kinds.strip().partition(" or ")
        if value is None:
            assert optional == "null", key
        elif kind == "time":
            assert datetime.fromisoformat(value).tzinfo is not None
        else:
            assert isinstance(value, TYPES[kind]), key


def test_every_noun_of_the_guide_is_among_these():
    assert set(re.findall(r"^### (\w+)$", GUIDE.read_text(), re.MULTILINE)) == set(EXAMPLES)


def test_documents_are_json():
    assert json.loads(json.dumps(EXAMPLES)) == EXAMPLES


@pytest.mark.parametrize(("key", "kind"), [("roles", RoleInfo), ("replicas", ReplicaInfo)])
def test_parts_of_a_job_have_the_keys_that_the_guide_names(key: str, kind: type):
    names = [field.name for field in fields(kind)]
    assert list(EXAMPLES["job"][key][0]) == names
    line = next(row for row in GUIDE.read_text().splitlines() if row.startswith(f"| `{key}` |"))
    assert re.findall(r"`(\w+)`", line)[1:] == names


def test_parts_of_a_study_have_the_keys_that_the_guide_names():
    section = GUIDE.read_text().partition("### study\n")[2].partition("\n### ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` (.*)$", section, re.MULTILINE))
    for key in ("points", "runs"):
        assert re.findall(r"`(\w+)`", rows[key]) == list(EXAMPLES["study"][key][0])
    assert re.findall(r"`(\w+)`", rows["amdahl"]) == list(EXAMPLES["study"]["amdahl"])


def test_an_array_is_told_by_its_states():
    document = documents.job_document(read_job(array({"SUCCEEDED": 2, "RUNNING": 1})))
    assert document["array"] == {"size": 3, "states": {"SUCCEEDED": 2, "RUNNING": 1}}


def test_a_contexts_key_is_never_told():
    assert "secret" not in json.dumps(documents.context_document(Context(api_key="secret"), "x"))
