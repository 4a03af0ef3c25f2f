"""Our `dataclass` is to be told from the standard library's by its speed alone."""

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, field
from typing import ClassVar

import pytest
from gridloom.values import dataclass as ours
from gridloom.values import replace

KINDS = {"ours": ours, "library": dataclasses.dataclass}


@pytest.fixture(params=KINDS)
def dataclass(request):
    return KINDS[request.param]


@ours(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0
    tags: tuple[str, ...] = ()


@ours(frozen=True, slots=True)
class Place(Point):
    name: str = ""


@ours(slots=True)
class Counter:
    count: int = 0
    seen: list[int] = field(default_factory=list)


@ours(frozen=True, slots=True)
class Wide:
    a: int
    b: int
    c: list[int] = field(default_factory=list)
    d: int = 4


class Wider(Wide):
    """Not one of ours, and with room for more."""


def test_wide_values_are_of_their_class_and_cannot_be_changed():
    for made in (
        Wide(1, 2),
        replace(Wide(3, 2), a=1),
        Wider(1, 2),
        pickle.loads(pickle.dumps(Wide(1, 2))),
    ):
        assert (made.a, made.b, made.c, made.d) == (1, 2, [], 4)
        assert type(made) in {Wide, Wider}
        with pytest.raises(FrozenInstanceError):
            made.a = 5
    assert Wide(1, 2) == Wide(1, 2)
    assert Wide(1, 2).c is not Wide(1, 2).c


def test_arguments_by_place_and_name_defaults_and_fresh_factories(dataclass):
    @dataclass
    class Thing:
        a: int
        b: str = "b"
        c: list[int] = field(default_factory=list)
        d: int = field(default=4, kw_only=True)

    first, second = Thing(1), Thing(2, b="x", c=[3], d=5)
    assert (first.a, first.b, first.c, first.d) == (1, "b", [], 4)
    assert (second.a, second.b, second.c, second.d) == (2, "x", [3], 5)
    assert Thing(1).c is not first.c


@pytest.mark.parametrize(
    ("arguments", "keywords"), [((), {}), ((1, 2, 3, 4, 5), {}), ((1,), {"z": 1}), ((1,), {"a": 1})]
)
def test_wrong_arguments_are_refused_also_by_the_first_call(dataclass, arguments, keywords):
    @dataclass(frozen=True, slots=True)
    class Thing:
        a: int
        b: int = 2

    for _ in range(2):
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            Thing(*arguments, **keywords)


def test_values_of_one_class_are_equal_by_their_fields(dataclass):
    @dataclass(frozen=True)
    class One:
        a: int
        note: str = field(default="", compare=False)

    @dataclass(frozen=True)
    class Other:
        a: int

    assert One(1) == One(1, "x")
    assert One(1) != One(2)
    assert One(1) != Other(1)
    assert len({One(1), One(1, "x"), One(2)}) == 2


def test_what_can_change_has_no_hash_and_what_has_no_equality_is_itself(dataclass):
    @dataclass
    class Changing:
        a: int = 1

    @dataclass(eq=False)
    class Itself:
        a: int = 1

    with pytest.raises(TypeError, match="unhashable"):
        hash(Changing())
    assert Itself() != Itself()
    assert len({Itself(), Itself()}) == 2


def test_a_method_of_ones_own_stays(dataclass):
    @dataclass(frozen=True, slots=True)
    class Thing:
        a: int = 1

        def __repr__(self) -> str:
            return "mine"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    assert repr(Thing()) == "mine"
    assert Thing(1) == Thing(2)
    assert hash(Thing()) == 7


def test_what_is_frozen_stays_as_it_is(dataclass):
    @dataclass(frozen=True, slots=True)
    class Thing:
        a: int = 1

    thing = Thing()
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'a'"):
        thing.a = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'a'"):
        del thing.a
    assert thing.a == 1


def test_order_is_that_of_the_fields(dataclass):
    @dataclass(frozen=True, slots=True, order=True)
    class Version:
        major: int
        minor: int = 0

    assert sorted([Version(2), Version(1, 5), Version(1)]) == [
        Version(1),
        Version(1, 5),
        Version(2),
    ]
    assert Version(1) < Version(2) <= Version(2) > Version(1)
    with pytest.raises(TypeError):
        assert Version(1) < 3


def test_what_happens_after_the_fields_are_set(dataclass):
    @dataclass
    class Thing:
        limit: ClassVar[int] = 10
        a: int
        double: int = field(init=False, repr=False)

        def __post_init__(self) -> None:
            self.double = 2 * self.a

    assert Thing(3).double == 6
    assert repr(Thing(3)).endswith("Thing(a=3)")


def test_it_is_a_dataclass_to_the_standard_library():
    point = Point(1, tags=("a",))
    assert dataclasses.is_dataclass(point)
    assert [each.name for each in dataclasses.fields(Point)] == ["x", "y", "tags"]
    assert dataclasses.replace(point, y=5) == Point(1, 5, ("a",))
    assert dataclasses.asdict(point) == {"x": 1, "y": 0, "tags": ("a",)}
    assert dataclasses.astuple(point) == (1, 0, ("a",))
    match point:
        case Point(x, y):
            assert (x, y) == (1, 0)


@pytest.mark.parametrize("value", [Point(1, 2), Place(1, name="x"), Counter(3, [1])])
def test_a_changed_copy_is_the_standard_librarys(value):
    first = dataclasses.fields(value)[0].name
    assert replace(value, **{first: 9}) == dataclasses.replace(value, **{first: 9})
    assert getattr(value, first) != 9
    assert replace(value) == value
    with pytest.raises(TypeError, match="no field 'z'"):
        replace(value, z=1)


def test_a_value_that_is_more_than_its_fields_is_not_copied_by_them():
    @ours(frozen=True)
    class Checked:
        a: int

        def __post_init__(self) -> None:
            assert self.a

    with pytest.raises(TypeError, match="more than its fields"):
        replace(Checked(1), a=0)


@pytest.mark.parametrize("value", [Point(1, 2), Place(1, name="x"), Counter(3, [1])])
def test_it_is_copied_and_pickled(value):
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy(value) == value
    assert copy.copy(value) == value


def test_a_child_has_its_parents_fields_first():
    assert Place(1, 2, ("t",), "home") == Place(x=1, y=2, tags=("t",), name="home")
    assert repr(Place(1)) == "Place(x=1, y=0, tags=(), name='')"
    assert not hasattr(Place(1), "__dict__")
