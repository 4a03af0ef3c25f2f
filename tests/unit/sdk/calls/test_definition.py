"""Functions as they travel."""

from __future__ import annotations

import functools
import math
import pickle

import gridloom
from gridloom.calls.composed import Folded, MapReduced, Several, Then, ThenAsync, composed
from gridloom.calls.definition import (
    apply,
    function_definition,
    function_name,
    importable,
    is_code,
)
from gridloom.payload import PayloadCodec


class Objects(dict):
    def put_bytes(self, data):
        self[len(self)] = bytes(data)
        return str(len(self))


def plain(x):
    return x + 1


@gridloom.function
def decorated(x):
    return x + 2


async def awaited(x):
    return x


def opened(function):
    definition = function_definition(function, PayloadCodec(), Objects())
    return PayloadCodec().decode_function(definition.code)[0]


def test_importable_functions_travel_by_name():
    assert opened(plain) is plain
    assert opened(math.sqrt) is math.sqrt


def test_below_our_decorator_it_is_the_plain_function_that_arrives():
    assert opened(decorated.function) is decorated.function


def test_others_travel_by_value():
    offset = 5
    assert opened(lambda x: x + offset)(1) == 6
    assert importable(lambda: 0) is None


def test_equal_functions_have_equal_digests():
    first = function_definition(plain, PayloadCodec(), Objects())
    second = function_definition(plain, PayloadCodec(), Objects())
    assert first.digest == second.digest
    assert first.digest != function_definition(math.sqrt, PayloadCodec(), Objects()).digest


def test_the_user_s_modules_are_stored_and_named():
    objects = Objects()
    definition = function_definition(plain, PayloadCodec(), objects)
    assert definition.bundle.digest
    assert len(objects[0]) == definition.bundle.size_bytes


def test_names_are_those_that_people_use():
    def inner():
        return None

    assert function_name(plain) == "plain"
    assert function_name(inner) == "inner"
    assert function_name(functools.partial(plain, 1)) == "plain"
    assert function_name(Then(plain)) == "plain"


def test_code_is_told_from_objects_that_hold_data():
    assert is_code(plain)
    assert is_code(len)
    assert is_code(dict)
    assert not is_code([].append)
    assert not is_code(functools.partial(plain, 1))


def test_apply_calls_what_it_is_given():
    assert apply(pow, 2, 3) == 8


def test_compositions_keep_what_the_function_is():
    assert pickle.loads(pickle.dumps(Several(plain)))([(1,), (2,)]) == [2, 3]
    assert Then(plain)("ignored", 1) == 2
    assert MapReduced(plain, max)([((1,), {}), ((5,), {})]) == 6
    assert Folded(max)([3, 9, 4]) == 9
    assert isinstance(composed(Then, awaited), ThenAsync)
    assert composed(Then, plain) is composed(Then, plain)


async def test_async_compositions_are_awaited():
    assert await composed(Several, awaited)([(1,), (2,)]) == [1, 2]
    assert await composed(MapReduced, awaited, max)([((1,), {}), ((5,), {})]) == 5
    assert await composed(Then, awaited)("ignored", 1) == 1
