from gridloom.api.functions.v1 import call_pb2, session_pb2
from gridloom_services.functions import failures, wire
from gridloom_services.functions.call import Attempts, CallSpec, Function, Retries
from gridloom_services.functions.dispatch import Block, Lane, Lease, Span
from gridloom_services.functions.dispatch.estimate import Estimate
from gridloom_services.functions.store.rows import InputRow, OutputRow, ResultRow

CODE = Function(b"d", "f", b"code", "3.11", "sha256:b", 9)


def lane(**options):
    return Lane(1, "name", CallSpec(1, b"d", "pool_a", **options), Estimate(), CODE)


def batch_of(owner, *spans, news=()):
    return wire.batch_message(Lease(7, "w1", owner, list(spans)), 3, news)


def test_a_failure_is_a_call_error_with_its_details():
    value = wire.encode_failure(failures.refused("NotFoundError", "no", field="pool_id"))
    error = call_pb2.CallError.FromString(value)
    assert error.type == "gridloom.errors.NotFoundError"
    assert (error.message, dict(error.details)) == ("no", {"field": "pool_id"})


def test_a_specification_has_what_the_client_asked():
    message = session_pb2.CallSpec(
        number=4,
        function_digest=b"d",
        timeout_ms=5,
        group=2,
        capture_output=True,
        at_most_once=True,
        max_parallel=3,
        name="f",
        not_durable=True,
        retries=session_pb2.CallRetries(error=1, worker_died=0, timeout=2, backoff_ms=10),
    )
    spec = wire.spec_from(message, "pool_a")
    retries = Retries(1, 0, 2, 0, 10, 0)
    options = {"capture_output": True, "at_most_once": True, "max_parallel": 3, "name": "f"}
    options["not_durable"] = True
    assert spec == CallSpec(4, b"d", "pool_a", 2, 5, retries, **options)


def test_without_a_word_about_it_a_call_survives_two_dead_workers():
    assert wire.spec_from(session_pb2.CallSpec(number=1), "pool_a").retries.worker_died == 2


def test_calls_that_follow_each_other_are_one_run():
    owner = lane()
    first = Block(owner, 1, [b"a", b"b", b"c"])
    second = Block(owner, 9, [b"x"])
    batch = batch_of(owner, Span(first, 1, 3), Span(second, 0, 1), news=[CODE])
    (run,) = batch.runs
    assert (batch.epoch, batch.number) == (3, 7)
    assert list(run.arguments) == [b"b", b"c", b"x"]
    assert list(run.sequences) == [2, 3, 9]
    assert (run.session, run.attempt, list(run.ranges)) == ("name", 1, [])
    assert batch.functions[0].bundle.size_bytes == 9


def test_what_is_run_again_or_alone_has_a_run_of_its_own():
    owner = lane()
    block = Block(owner, 1, [b"a", b"b"])
    again = Span(block, 1, 2, isolated=True, attempts=Attempts(deaths=1))
    batch = batch_of(owner, Span(block, 0, 1), again)
    assert [(run.attempt, run.isolated) for run in batch.runs] == [(1, False), (2, True)]


def test_parts_of_chunks_say_which_items():
    owner = lane()
    chunk = Block(owner, 5, [b"list"], items=10)
    (run,) = batch_of(owner, Span(chunk, 2, 5), Span(chunk, 8, 10)).runs
    assert [(part.first, part.count) for part in run.ranges] == [(2, 3), (8, 2)]
    assert (list(run.arguments), list(run.sequences)) == ([b"list"] * 2, [5, 5])


def test_inputs_go_with_the_call_that_needs_them():
    owner = lane()
    block = Block(owner, 1, [b"a", b"b"])
    inputs = (InputRow((b"x",), chunked=False), InputRow((b"y", b"z"), chunked=True))
    needy = Span(block, 1, 2, inputs=inputs)
    (run,) = batch_of(owner, Span(block, 0, 1), needy).runs
    (found,) = run.inputs
    assert found.position == 1
    assert [(list(one.parts), one.chunked) for one in found.inputs] == [
        ([b"x"], False),
        ([b"y", b"z"], True),
    ]


def test_results_and_output_are_told_by_sequence_number():
    run = wire.result_run(ResultRow(1, 9, 4, (2, 3), b"\x01", (b"v",), 0, 0, 0.0))
    assert (run.first_sequence, run.ranges[0].first, run.ranges[0].count) == (4, 2, 3)
    output = wire.output_message(OutputRow(1 << 40 | 6, 0, 2, 1, b"text"))
    assert (output.sequence, output.item, output.stream, output.data) == (6, 2, 1, b"text")
