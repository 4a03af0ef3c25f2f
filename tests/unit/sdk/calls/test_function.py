"""`@gridloom.function` and what it makes of functions."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle

import cloudpickle
import gridloom
import pytest
from gridloom.api.functions.v1 import pool_pb2
from gridloom.calls.function import Function
from gridloom.errors import InvalidRequestError, UnpicklableError


@gridloom.function(cpus=2, retries=1)
def fit(c: float, gamma: float = 0.1) -> float:
    """Fit a model."""
    return c * gamma


@gridloom.function
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@gridloom.function
async def fetch(x):
    await asyncio.sleep(0)
    return x + 1


class Model:
    def __init__(self, scale):
        self.scale = scale

    @gridloom.function
    def scaled(self, x):
        return self.scale * x

    def plain(self, x):
        return self.scale + x

    def __call__(self, x):
        return self.scale - x


def test_calling_it_runs_it_here():
    assert fit(2, 0.5) == 1.0


def test_it_looks_like_the_function_it_was():
    assert (fit.__name__, fit.__doc__) == ("fit", "Fit a model.")
    assert list(inspect.signature(fit).parameters) == ["c", "gamma"]
    assert inspect.unwrap(fit) is fit.function
    assert repr(fit) == f"<gridloom.Function {__name__}.fit>"


def test_options_make_a_changed_copy():
    big = fit.options(cpus=8, queue="big")
    assert big.call_options == {"cpus": 8, "queue": "big", "retries": 1}
    assert fit.call_options == {"cpus": 2, "retries": 1}
    assert big.options(retries=None).call_options == {"cpus": 8, "queue": "big"}
    assert big(2) == fit(2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cpu": 1}, 'unknown option "cpu"; did you mean "cpus"'),
        ({"timout": 1}, 'did you mean "timeout"'),
        ({"pool": "pool_" + "0" * 26, "cpus": 1}, "give it to client.pool"),
    ],
)
def test_wrong_options_are_refused_where_they_are_written(given, message):
    with pytest.raises(InvalidRequestError, match=message):
        gridloom.function(**given)
    with pytest.raises(InvalidRequestError, match=message):
        fit.options(cpus=None).options(**given)


def test_the_decorator_wants_options_by_name():
    with pytest.raises(TypeError, match="by name"):
        gridloom.function(3)


def test_it_travels_by_name_where_it_can_be_imported():
    assert pickle.loads(pickle.dumps(fit)) is fit


def test_a_changed_copy_travels_with_its_options():
    copy = pickle.loads(pickle.dumps(fit.options(cpus=8)))
    assert isinstance(copy, Function)
    assert copy.call_options["cpus"] == 8
    assert copy(2, 0.5) == 1.0


def test_a_local_one_that_refers_to_itself_travels_by_value():
    @gridloom.function
    def factorial(n):
        return 1 if n == 0 else n * factorial(n - 1)

    assert pickle.loads(cloudpickle.dumps(factorial))(5) == 120


def test_submit_runs_it_there(client):
    assert fit.submit(2, gamma=0.5).result(10) == 1.0
    assert client.submit(fit, 3).result(10) == pytest.approx(0.3)


@pytest.mark.usefixtures("client")
def test_a_function_may_call_itself_there():
    assert fibonacci.submit(10).result(10) == 55


def test_lambdas_closures_and_builtins_travel(client):
    base = 40
    assert client.submit(lambda x: x + base, 2).result(10) == 42
    assert client.submit(pow, 2, 5).result(10) == 32
    assert client.submit(int, "7").result(10) == 7


def test_methods_travel_with_their_instance(client):
    model = Model(3)
    assert model.scaled(2) == 6
    assert model.scaled.submit(2).result(10) == 6
    assert list(model.scaled.map([1, 2])) == [3, 6]
    assert client.submit(model.plain, 2).result(10) == 5
    assert Model.scaled.submit(model, 5).result(10) == 15


def test_objects_that_can_be_called_travel_as_data(client, service):
    assert client.submit(Model(3), 1).result(10) == 2
    assert client.submit(functools.partial(pow, 2), 3).result(10) == 8
    assert list(client.map(Model(10), [1, 2])) == [9, 8]
    assert len(service.functions) == 1


def test_the_session_learns_a_function_once(client, service):
    for number in range(5):
        fit.submit(number).result(10)
        fit.options(retries=2).submit(number).result(10)
    assert len(service.functions) == 1
    assert len(service.session().specs) == 2


def test_changed_options_are_what_travels(client, service):
    client.submit(fit.options(timeout="2s", labels={"a": 1}), 1).result(10)
    (spec,) = service.session().specs.values()
    assert spec.timeout_ms == 2000
    assert dict(spec.labels) == {"a": "1"}
    assert dict(spec.pool.resources) == {"cpu": 2000}


def test_an_async_function_asks_for_an_event_loop(client, service):
    assert client.submit(fetch, 1).result(10) == 2
    (spec,) = service.session().specs.values()
    assert spec.pool.concurrency == pool_pb2.CONCURRENCY_ASYNCIO


def test_an_argument_that_cannot_travel_is_named(client):
    with pytest.raises(UnpicklableError, match=r"args\[1\]"):
        client.submit(fit, 1, (x for x in [1])).result(10)


def test_results_that_are_here_travel_by_value(client, service):
    first = fit.submit(4, 0.5)
    assert first.result(10) == 2.0
    assert fit.submit(first, 1).result(10) == 2.0
    assert service.session().calls[2].needs == []


def test_a_future_in_a_structure_is_a_dependency_too(client, service):
    service.hold()
    futures = [fit.submit(n, 1) for n in range(3)]
    total = client.submit(sum, futures)
    nested = client.submit(len, {"a": [futures[0]], "b": 1})
    service.wait_for(lambda: service.session().last == 5)
    assert len(service.session().calls[4].needs) == 3
    service.running.set()
    assert total.result(10) == 3
    assert nested.result(10) == 2


def test_an_argument_that_has_failed_fails_the_call_at_once(client, service):
    failed = client.submit(int, "x")
    assert isinstance(failed.exception(10), ValueError)
    before = service.session().last
    after = fit.submit(failed)
    with pytest.raises(ValueError, match="invalid literal"):
        after.result(10)
    assert service.session().last == before


def test_output_is_kept_or_heard(client, service):
    heard = []
    client.submit(gridloom.function(print).options(output=heard.append), "hello").result(10)
    assert [one.text for one in heard] == ["hello\n"]
    (spec,) = service.session().specs.values()
    assert spec.capture_output


def test_output_is_shown_here_when_asked(client, capsys):
    client.submit(gridloom.function(print).options(output=True), "seen").result(10)
    assert "seen" in capsys.readouterr().out


async def test_a_submitted_call_can_be_awaited(client):
    assert await client.submit(fit, 1, 1) == 1
    assert await asyncio.gather(*(fit.submit(n, 1) for n in range(5))) == [0, 1, 2, 3, 4]
