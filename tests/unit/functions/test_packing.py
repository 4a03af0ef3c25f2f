from gridloom_services.functions.packing import pack, unpack, unpack_one
from hypothesis import given
from hypothesis import strategies as st

values = st.lists(st.binary(max_size=40), min_size=1, max_size=20)


@given(values)
def test_what_is_packed_comes_back(given_values):
    assert unpack(pack(given_values), len(given_values)) == given_values


@given(values, st.data())
def test_one_value_can_be_taken_alone(given_values, data):
    position = data.draw(st.integers(0, len(given_values) - 1))
    packed = pack(given_values)
    assert unpack_one(packed, len(given_values), position) == given_values[position]
