"""Many byte strings as one: how the store keeps a run of arguments or results in one row.

Length of each as four bytes (little endian), then all of them one after the other; the number of
strings is kept beside it.
"""

from __future__ import annotations

import sys
from array import array
from itertools import accumulate, pairwise

_WIDTH = 4
_SWAP = sys.byteorder == "big"


def pack(values: list[bytes]) -> bytes:
    """One byte string that `unpack` takes apart again; each value under 4 GiB."""
    lengths = array("I", map(len, values))
    if _SWAP:
        lengths.byteswap()
    return lengths.tobytes() + b"".join(values)


def unpack(data: bytes, count: int) -> list[bytes]:
    """The `count` values that were packed."""
    if count == 1:
        return [data[_WIDTH:]]
    lengths = array("I")
    lengths.frombytes(data[: count * _WIDTH])
    if _SWAP:
        lengths.byteswap()
    ends = list(accumulate(lengths, initial=count * _WIDTH))
    return [data[start:end] for start, end in pairwise(ends)]


def unpack_one(data: bytes, count: int, position: int) -> bytes:
    """One of the values, the others not copied."""
    lengths = array("I")
    lengths.frombytes(data[: count * _WIDTH])
    if _SWAP:
        lengths.byteswap()
    start = count * _WIDTH + sum(lengths[:position])
    return data[start : start + lengths[position]]
