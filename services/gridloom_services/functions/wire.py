"""Messages of the session's and the workers' protocols, to and from values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import call_pb2, session_pb2, worker_pb2

from gridloom_services.functions.call import (
    WORKER_DEATHS,
    CallSpec,
    Function,
    Retries,
    split_stored_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gridloom_services.functions.call import Failure
    from gridloom_services.functions.dispatch import Lease, Span
    from gridloom_services.functions.store.rows import InputRow, OutputRow, ResultRow

PROTOCOL = 1


def encode_failure(failure: Failure) -> bytes:
    """A failure as the value of a result."""
    return call_pb2.CallError(
        type=failure.type, message=failure.message, details=dict(failure.details)
    ).SerializeToString(deterministic=True)


def error_sentence(value: bytes) -> str:
    """What failed, in one sentence: of a result that is not good."""
    if not value:
        return ""
    found = call_pb2.CallError.FromString(value)
    return f"{found.type.rpartition('.')[2]}: {found.message}"


# ---- from clients


def function_from(message: session_pb2.FunctionDefinition) -> Function:
    """A function's code."""
    return Function(
        digest=message.digest,
        name=message.name,
        code=message.code,
        python=message.python,
        bundle_digest=message.bundle.digest,
        bundle_bytes=message.bundle.size_bytes,
    )


def spec_from(message: session_pb2.CallSpec, pool_id: str) -> CallSpec:
    """A specification, with the pool that was found for it."""
    given = message.retries
    deaths = given.worker_died if given.HasField("worker_died") else WORKER_DEATHS
    return CallSpec(
        number=message.number,
        function=message.function_digest,
        pool_id=pool_id,
        group=message.group,
        timeout_ms=message.timeout_ms,
        retries=Retries(
            error=given.error,
            worker_died=deaths,
            timeout=given.timeout,
            out_of_memory=given.out_of_memory,
            backoff_ms=given.backoff_ms,
            max_backoff_ms=given.max_backoff_ms,
        ),
        capture_output=message.capture_output,
        at_most_once=message.at_most_once,
        max_parallel=message.max_parallel,
        name=message.name,
        not_durable=message.not_durable,
    )


# ---- to clients


def result_run(row: ResultRow) -> call_pb2.ResultRun:
    """Results as a client gets them."""
    run = call_pb2.ResultRun(first_sequence=row.first, statuses=row.statuses, values=row.values)
    if row.items is not None:
        run.ranges.add(first=row.items[0], count=row.items[1])
    return run


def output_message(row: OutputRow) -> call_pb2.Output:
    """Output as a client gets it."""
    sequence = split_stored_id(row.call)[1]
    return call_pb2.Output(sequence=sequence, item=row.item, stream=row.stream, data=row.data)


# ---- to workers


def batch_message(lease: Lease, epoch: int, functions: Iterable[Function]) -> worker_pb2.Batch:
    """A lease as its worker gets it; `functions` are those that it does not have yet."""
    batch = worker_pb2.Batch(epoch=epoch, number=lease.number)
    batch.functions.extend(_definition(function) for function in functions)
    run: worker_pb2.UnitRun | None = None
    last: Span | None = None
    for span in lease.spans:
        if run is None or last is None or not _alike(last, span):
            run = _run(lease, batch, span)
        _add(run, span)
        last = span
    return batch


def _alike(last: Span, span: Span) -> bool:
    """Whether two spans can stand in one run."""
    return (
        last.attempts == span.attempts
        and last.isolated == span.isolated
        and bool(last.block.items) == bool(span.block.items)
    )


def _run(lease: Lease, batch: worker_pb2.Batch, span: Span) -> worker_pb2.UnitRun:
    spec = lease.lane.spec
    return batch.runs.add(
        function_digest=spec.function,
        timeout_ms=spec.timeout_ms,
        capture_output=spec.capture_output,
        isolated=span.isolated,
        session=lease.lane.session_name,
        attempt=span.attempts.number,
        not_durable=spec.not_durable,
    )


def _add(run: worker_pb2.UnitRun, span: Span) -> None:
    block = span.block
    position = len(run.sequences)
    if block.items:
        run.arguments.append(block.arguments[0])
        run.ranges.add(first=span.start, count=span.size)
        run.sequences.append(block.first)
    else:
        run.arguments.extend(block.arguments[span.start : span.stop])
        run.sequences.extend(range(block.first + span.start, block.first + span.stop))
    if span.inputs:
        run.inputs.append(_inputs(position, span.inputs))


def _inputs(position: int, inputs: Sequence[InputRow]) -> worker_pb2.UnitInputs:
    return worker_pb2.UnitInputs(
        position=position,
        inputs=[worker_pb2.UnitInput(parts=each.parts, chunked=each.chunked) for each in inputs],
    )


def _definition(function: Function) -> session_pb2.FunctionDefinition:
    message = session_pb2.FunctionDefinition(
        digest=function.digest, name=function.name, code=function.code, python=function.python
    )
    if function.bundle_digest:
        message.bundle.digest = function.bundle_digest
        message.bundle.size_bytes = function.bundle_bytes
    return message
