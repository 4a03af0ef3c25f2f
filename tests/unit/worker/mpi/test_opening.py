"""Calls that were pickled by value, as ranks open them."""

from __future__ import annotations

import io
import math
import os.path
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest
from gridloom.worker.mpi.opening import opened

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = 3

# As a rank has it: an interpreter that has not loaded cloudpickle. It writes what came out.
OPENED = "from gridloom.worker.mpi.opening import opened"
OPEN = f"""
import sys
{OPENED}

function, args = opened(sys.stdin.buffer)
value = function(*args)
print(value, "cloudpickle" in sys.modules)
"""


def plain(number: int, by: int = 2, *, plus: int = 1) -> int:
    """Multiplied and more."""
    return number * by * SCALE + plus


def calls_itself_and_another(number: int) -> int:
    return plain(number) if number < 2 else calls_itself_and_another(number - 1)


def uses_modules(number: int) -> str:
    return os.path.join(str(math.floor(number)), "x")  # noqa: PTH118


def counting() -> Callable[[int], int]:
    seen: list[int] = []

    def count(number: int) -> int:
        seen.append(number)
        return len(seen) + (count(number - 1) if number else 0)

    return count


class Shape:
    """Its class travels, too."""

    def area(self, side: int) -> int:
        return side * side


def of_a_class(number: int) -> int:
    return Shape().area(number)


def by_value(value: Any) -> bytes:
    """As what a script defines travels."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(value, 5))
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def in_a_rank(value: Any) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPEN], input=by_value(value), capture_output=True, check=True
    )
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("function", "argument", "expected"),
    [
        (plain, 5, 31),
        (calls_itself_and_another, 4, 7),
        (uses_modules, 4.5, "4/x"),
        (counting(), 3, 10),
        (lambda n: [plain(each) for each in range(n)], 2, [1, 7]),
        (partial(plain, by=1), 5, 16),
    ],
    ids=["plain", "globals", "modules", "closure", "lambda", "partial"],
)
def test_functions_are_opened_without_cloudpickle(function, argument, expected):
    assert in_a_rank((function, (argument,))) == f"{expected} False"


def test_what_is_more_than_a_function_is_opened_by_cloudpickle():
    assert in_a_rank((of_a_class, (4,))) == "16 True"


def test_a_pickle_that_means_something_else_goes_to_cloudpickle():
    """A later version's constructor, with one argument more."""
    pickle = b"\x80\x05ccloudpickle.cloudpickle\n_make_cell\n(K\x01K\x02K\x03tR."
    code = (
        f"import io; from gridloom.worker.mpi.opening import opened; opened(io.BytesIO({pickle}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "_make_cell() takes" in done.stderr


def test_where_cloudpickle_is_loaded_it_opens_everything():
    function = opened(io.BytesIO(by_value(plain)))
    assert (function(5), function.__doc__, function.__defaults__) == (31, plain.__doc__, (2,))


def test_a_function_keeps_what_it_is_known_by():
    """Its name, documentation, defaults and attributes."""

    def known(comm: object, times: int = 3) -> None:
        """It is said here."""

    known.colour = "red"  # type: ignore[attr-defined]

    def parts(function: Any) -> tuple[object, ...]:
        return (
            function.__name__,
            function.__qualname__,
            function.__doc__,
            function.__defaults__,
            sorted(function.__annotations__),
            function.colour,
        )

    assert in_a_rank((parts, (known,))) == f"{parts(known)} False"
