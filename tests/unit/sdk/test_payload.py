"""Envelopes: what goes in comes out, large parts go by reference, and refusals name the part."""

from __future__ import annotations

import hashlib
import itertools
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from gridloom.api.functions.v1 import worker_pb2
from gridloom.errors import InternalError, PayloadLostError, PayloadTooLargeError, UnpicklableError
from gridloom.items import ARGUMENTS, VALUE, Form, Items, opened
from gridloom.payload import INLINE, LARGE, PayloadCodec, Pending
from gridloom.segments import Place
from hypothesis import given
from hypothesis import strategies as st

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


class DictionaryObjects:
    """`objects` in a dictionary."""

    def __init__(self, *, has_memory=True):
        self.stored = {}
        self.segments = {}
        self.has_memory = has_memory

    def share(self, parts):
        if not self.has_memory:
            return None
        name = f"{len(self.segments):032x}"
        self.segments[name] = b"".join(bytes(part) for part in parts)
        ends = [0, *itertools.accumulate(part.nbytes for part in parts)]
        return [Place(name, offset) for offset in ends[:-1]]

    def shared(self, name):
        if name not in self.segments:
            raise PayloadLostError(name)
        return memoryview(bytearray(self.segments[name]))

    def put_bytes(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.stored[digest] = bytes(data)
        return digest

    def get_bytes(self, digest):
        return bytearray(self.stored[digest])


class Promise(Pending):
    """Stands for a call; pickled by itself it is its name."""

    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return Promise, (self.name,)


@dataclass
class Model:
    name: str
    lock: object = field(default_factory=threading.Lock)


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner


@pytest.fixture
def objects():
    return DictionaryObjects()


@pytest.fixture
def codec(objects):
    return PayloadCodec(objects)


@given(st.lists(values), st.dictionaries(st.text(), values))
def test_arguments_come_back_as_they_went(args, kwargs):
    codec = PayloadCodec()
    encoded = codec.encode_arguments(tuple(args), kwargs)
    assert codec.decode(encoded.data) == (tuple(args), kwargs)
    assert encoded.data[:1] == INLINE
    assert encoded.objects == encoded.dependencies == ()


@given(st.lists(values))
def test_the_results_of_a_run_come_back_in_order(results):
    codec = PayloadCodec()
    assert codec.decode(codec.encode_values(results).data) == results


@pytest.mark.parametrize(
    ("kind", "own", "calls"),
    [
        (VALUE, [1, 2], [((0, 1), {"k": 3}), ((0, 2), {"k": 3})]),
        (ARGUMENTS, [(1, 2), ()], [((0, 1, 2), {"k": 3}), ((0,), {"k": 3})]),
    ],
)
def test_a_chunk_says_once_what_its_items_have_in_common(codec, kind, own, calls):
    items = Items(Form(kind, (0,), {"k": 3}), own)
    found = opened(codec.decode(codec.encode_chunk(items).data))
    assert (list(found.calls()), found.call(1)) == (calls, calls[1])


def test_a_chunk_that_was_stored_as_a_list_of_calls_is_opened():
    calls = [((1,), {"k": 2}), ((), {})]
    assert list(opened(calls).calls()) == calls


def test_items_of_a_kind_that_is_not_known_are_refused():
    with pytest.raises(InternalError, match="of kind 7"):
        opened((7, (), {}, []))


def test_an_inline_envelope_is_a_plain_pickle_behind_one_byte(codec):
    envelope = codec.encode_arguments((3, 0.1), {}).data
    assert pickle.loads(envelope[1:]) == ((3, 0.1), {})


def test_lambdas_and_local_functions_travel_among_arguments(codec):
    factor = 3
    (function,), _ = codec.decode(codec.encode_arguments((lambda x: factor * x,), {}).data)
    assert function(5) == 15


def test_a_class_of_main_means_the_same_in_another_process(tmp_path):
    program = (
        "import pathlib, sys\n"
        "from gridloom.payload import PayloadCodec\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "    def double(self): return 2 * self.x\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "path.write_bytes(PayloadCodec().encode_arguments((Point(4),), {}).data)\n"
    )
    path = tmp_path / "envelope"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    (point,), _ = PayloadCodec().decode(path.read_bytes())
    assert point.double() == 8


def test_small_arrays_stay_in_the_envelope_and_can_be_changed(codec):
    encoded = codec.encode_value(np.arange(1000))
    array = codec.decode(encoded.data)
    array[0] = 7
    assert array[0] == 7
    assert array[999] == 999
    assert encoded.data[:1] == INLINE


def test_a_large_array_goes_by_reference_and_comes_back_changeable(codec, objects):
    array = np.arange(1_000_000)
    encoded = codec.encode_value({"array": array, "name": "a"})
    assert encoded.data[:1] == LARGE
    assert len(encoded.data) < 1000
    assert encoded.objects == tuple(objects.stored)
    back = codec.decode(encoded.data)
    assert np.array_equal(back["array"], array)
    back["array"][0] = 9
    assert array[0] == 0


def test_equal_arrays_are_stored_once(codec, objects):
    encoded = codec.encode_value([np.zeros(1_000_000), np.zeros(1_000_000)])
    assert len(encoded.objects) == len(objects.stored) == 1


def test_a_read_only_array_stays_read_only(codec):
    array = np.arange(1_000_000)
    array.flags.writeable = False
    assert not codec.decode(codec.encode_value(array).data).flags.writeable


def test_a_large_pickle_without_buffers_goes_by_reference(codec, objects):
    words = [f"word {number}" for number in range(200_000)]
    encoded = codec.encode_value(words)
    assert len(encoded.data) < 200
    assert len(objects.stored) == 1
    assert codec.decode(encoded.data) == words


def test_a_buffer_under_the_inline_limit_needs_no_transfer(codec, objects):
    array = np.arange(50_000)
    encoded = codec.encode_value(array)
    assert encoded.data[:1] == LARGE
    assert not objects.stored
    assert np.array_equal(codec.decode(encoded.data), array)


def test_a_value_over_the_limit_is_refused_with_its_size(objects):
    codec = PayloadCodec(objects, payload_limit_bytes=2_000_000)
    with pytest.raises(PayloadTooLargeError, match=r"the limit is 2,000,000 bytes") as caught:
        codec.encode_value(bytes(3_000_000))
    assert caught.value.details["size_bytes"] > 3_000_000
    assert not objects.stored


def test_without_a_store_the_inline_limit_is_the_limit():
    codec = PayloadCodec(inline_limit_bytes=1000)
    with pytest.raises(PayloadTooLargeError, match=r"for the arguments: the limit is 1,000 bytes"):
        codec.encode_arguments((bytes(1000),), {})


def test_what_is_waited_for_is_numbered_by_first_appearance(codec):
    one, two = Promise("one"), Promise("two")
    encoded = codec.encode_arguments((1, [two], one), {"again": two})
    assert encoded.dependencies == (two, one)
    args, kwargs = codec.decode(encoded.data, resolve=["second", "first"].__getitem__)
    assert args == (1, ["second"], "first")
    assert kwargs == {"again": "second"}


def test_what_is_waited_for_is_found_beside_a_lambda(codec):
    one = Promise("one")
    encoded = codec.encode_arguments((lambda x: x + 1, one), {})
    assert encoded.dependencies == (one,)
    (function, value), _ = codec.decode(encoded.data, resolve=lambda number: number + 10)
    assert function(value) == 11


def test_what_is_waited_for_travels_as_itself_in_a_result(codec):
    encoded = codec.encode_value([Promise("one")])
    assert encoded.dependencies == ()
    assert codec.decode(encoded.data)[0].name == "one"


def test_a_handle_pickled_by_the_user_does_not_disturb_the_next_call(codec):
    pickle.dumps(Promise("one"))
    assert codec.encode_arguments((1,), {}).dependencies == ()
    assert codec.decode(codec.encode_arguments((2,), {}).data) == ((2,), {})


def test_the_result_of_a_chunked_call_is_the_list_of_its_values(codec):
    parts = [codec.encode_values([1, 2]).data, codec.encode_values([3]).data]
    given_input = worker_pb2.UnitInput(parts=parts, chunked=True)
    assert codec.decode_input(given_input) == [1, 2, 3]


def test_the_result_of_an_ordinary_call_is_its_value(codec):
    given_input = worker_pb2.UnitInput(parts=[codec.encode_value([1, 2]).data])
    assert codec.decode_input(given_input) == [1, 2]


def test_a_function_travels_by_value_with_the_digest_of_its_modules(codec):
    offset = 2
    envelope = codec.encode_function(lambda x: x + offset, "sha256:1").data
    function, bundle = codec.decode_function(envelope)
    assert function(1) == 3
    assert bundle == "sha256:1"


def test_other_modules_make_another_envelope(codec):
    one = codec.encode_function(np.sum, "sha256:1").data
    assert one != codec.encode_function(np.sum, "sha256:2").data
    assert one == codec.encode_function(np.sum, "sha256:1").data


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        ((threading.Lock(),), {}, "args[0]"),
        (({"model": Model("m")},), {}, 'args[0]["model"].lock'),
        ((1, [0, (Slotted(threading.Lock()),)]), {}, "args[1][1][0].inner"),
        ((), {"models": [Model("m")]}, "kwargs['models'][0].lock"),
        (({7: threading.Lock()},), {}, "args[0][7]"),
        (({"a": 1}, {threading.Lock()}), {}, "args[1]{"),
    ],
)
def test_an_unpicklable_argument_is_named_by_its_path(codec, args, kwargs, path):
    with pytest.raises(UnpicklableError, match=r"cannot pickle '_thread\.lock' object") as caught:
        codec.encode_arguments(args, kwargs)
    assert caught.value.path.startswith(path)
    assert str(caught.value).startswith(path)


def test_an_unpicklable_closure_is_named_by_its_path(codec):
    lock = threading.Lock()
    with pytest.raises(UnpicklableError) as caught:
        codec.encode_function(lambda: lock.acquire(timeout=1))
    assert caught.value.path == "function.<closure>.lock"


def test_an_unpicklable_bound_method_is_named_by_its_path(codec):
    model = Model("m")
    model.run = lambda: model
    with pytest.raises(UnpicklableError) as caught:
        codec.encode_function(Model.__repr__.__get__(model))
    assert caught.value.path == "function.__self__.lock"


def test_an_unpicklable_item_of_a_chunk_is_named_by_its_number(codec):
    with pytest.raises(UnpicklableError) as caught:
        codec.encode_chunk(Items(Form(VALUE), [1, threading.Lock()]))
    assert caught.value.path == "item 1: args[0]"


def test_an_unpicklable_result_is_named_by_its_path(codec):
    with pytest.raises(UnpicklableError) as caught:
        codec.encode_value([1, {"x": (n for n in range(3))}])
    assert caught.value.path == 'result[1]["x"]'


def test_a_cycle_around_the_unpicklable_part_ends_the_search(codec):
    model = Model("m")
    ring = {"model": model}
    model.name = ring
    with pytest.raises(UnpicklableError) as caught:
        codec.encode_value(ring)
    assert caught.value.path == 'result["model"].lock'


def test_an_error_of_the_class_itself_is_reported_with_the_path(codec):
    class Stubborn:
        def __reduce__(self):
            raise RuntimeError("I stay here")

    with pytest.raises(UnpicklableError, match=r"args\[0\]: I stay here"):
        codec.encode_arguments((Stubborn(),), {})


def test_an_unknown_envelope_is_refused(codec):
    with pytest.raises(InternalError, match="begins with"):
        codec.decode(b"\x07rest")


def test_a_segment_of_shared_memory_is_refused_where_it_cannot_be_reached():
    encoded = PayloadCodec(DictionaryObjects()).encode_value(BIG, durable=False)
    with pytest.raises(InternalError, match="nothing here can reach"):
        PayloadCodec().decode(encoded.data)


BIG = bytearray(b"big" * 700_000)


def test_what_need_not_be_durable_lies_in_one_segment_and_is_named_to_be_held(codec, objects):
    arrays = [bytearray(b"a" * 800_000), bytearray(b"b" * 900_000)]
    encoded = codec.encode_arguments(tuple(map(pickle.PickleBuffer, arrays)), {}, durable=False)
    (name,) = objects.segments
    assert (encoded.objects, objects.stored) == ((f"shm:{name}",), {})
    args, _ = codec.decode(encoded.data)
    assert [bytes(one) for one in args] == arrays
    args[0][:1] = b"x"  # the caller's own
    assert bytes(codec.decode(encoded.data)[0][0]) == arrays[0]


def test_a_large_pickle_that_need_not_be_durable_lies_there_too(codec, objects):
    texts = [str(n) for n in range(400_000)]
    encoded = codec.encode_value(texts, durable=False)
    assert (len(objects.segments), objects.stored) == (1, {})
    assert codec.decode(encoded.data) == texts


def test_without_shared_memory_it_is_stored_like_everything():
    objects = DictionaryObjects(has_memory=False)
    codec = PayloadCodec(objects)
    encoded = codec.encode_values([BIG], durable=False)
    assert set(encoded.objects) == set(objects.stored)
    assert codec.decode(encoded.data) == [BIG]


def test_small_values_stay_in_their_envelope_whatever_was_asked(codec, objects):
    encoded = codec.encode_chunk(Items(Form(VALUE), [bytearray(300_000)]), durable=False)
    assert (encoded.objects, objects.segments, objects.stored) == ((), {}, {})


def test_a_pinned_envelope_is_opened_when_its_segment_is_gone(codec, objects):
    envelope = codec.encode_value(BIG, durable=False).data
    kept = codec.pin(envelope)
    objects.segments.clear()
    assert (kept, codec.decode(kept)) == (envelope, BIG)
    with pytest.raises(PayloadLostError):
        codec.decode(envelope)


def test_an_envelope_without_segments_is_pinned_as_it_is(codec):
    envelope = codec.encode_value(BIG).data
    assert codec.pin(envelope) is envelope
