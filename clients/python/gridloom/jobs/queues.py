"""Queues and nodes: what is done with them, written once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from gridloom import units
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.errors import InvalidRequestError
from gridloom.jobs.info import NodeInfo, QueueInfo, read_node, read_queue
from gridloom.jobs.times import duration_of
from gridloom.operation import Call
from gridloom.options import check_options

if TYPE_CHECKING:
    from gridloom.operation import Operation

Quota: TypeAlias = Mapping[str, int | float | str]


class QueueOptions(TypedDict, total=False):
    """What a queue can be told. `quota` is like `{"cpus": 8, "memory": "64GiB"}`."""

    priority: int
    quota: Quota
    default_time_limit: units.Duration
    max_time_limit: units.Duration
    closed: bool
    description: str


OPTION_NAMES = tuple(QueueOptions.__annotations__)


def list_queues(project: str) -> Operation[list[QueueInfo]]:
    """The project's queues; those of every project that may be seen where none is named."""
    request = pb.ListQueuesRequest(project=project)
    answer: pb.ListQueuesResponse = yield Call("scheduler", "ListQueues", request)
    return [read_queue(queue) for queue in answer.queues]


def create_queue(project: str, name: str, options: QueueOptions) -> Operation[QueueInfo]:
    """A new queue; a `ConflictError` where it exists."""
    request = pb.CreateQueueRequest(queue=_queue(project, name, options))
    answer: pb.CreateQueueResponse = yield Call("scheduler", "CreateQueue", request)
    return read_queue(answer.queue)


def set_queue(project: str, name: str, options: QueueOptions) -> Operation[QueueInfo]:
    """The queue with these options changed and all others as they were."""
    if not options:
        raise InvalidRequestError(
            f'nothing to set on queue "{name}"', field="queue", allowed=", ".join(OPTION_NAMES)
        )
    queue = _queue(project, name, options)
    request = pb.UpdateQueueRequest(queue=queue, fields=list(options))
    answer: pb.UpdateQueueResponse = yield Call("scheduler", "UpdateQueue", request)
    return read_queue(answer.queue)


def delete_queue(project: str, name: str) -> Operation[None]:
    """Remove an empty queue."""
    yield Call("scheduler", "DeleteQueue", pb.DeleteQueueRequest(project=project, name=name))


def list_nodes() -> Operation[list[NodeInfo]]:
    """The machines, what they have and what is free."""
    answer: pb.ListNodesResponse = yield Call("scheduler", "ListNodes", pb.ListNodesRequest())
    return [read_node(node) for node in answer.nodes]


def quota_amounts(quota: Quota) -> dict[str, int]:
    """In the scheduler's units; 0 is an amount, too: nothing of that runs."""
    amounts = {}
    for name, amount in quota.items():
        if name in {"cpus", "cpu"}:
            number = float(amount) if isinstance(amount, str) else amount
            amounts["cpu"] = units.cpu_thousandths(number, field="quota.cpus") if number else 0
        elif name == "memory":
            amounts["memory"] = units.memory_bytes(amount, field="quota.memory")
        else:
            whole = int(amount) if isinstance(amount, str) and amount.isdecimal() else amount
            amounts[name] = units.whole(whole, field=f"quota.{name}")  # type: ignore[arg-type]
    return amounts


def _queue(project: str, name: str, options: QueueOptions) -> pb.Queue:
    check_options(options, OPTION_NAMES)
    queue = pb.Queue(
        name=name,
        project=project,
        priority=options.get("priority", 0),
        closed=options.get("closed", False),
        description=options.get("description", ""),
        quota=quota_amounts(options.get("quota", {})),
    )
    for word in ("default_time_limit", "max_time_limit"):
        if word in options:
            given = options[word]
            getattr(queue, word).CopyFrom(duration_of(units.seconds(given, field=word)))
    return queue
