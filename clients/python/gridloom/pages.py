"""Files as private memory of this process, and whether such memory was changed since."""

from __future__ import annotations

import ctypes
import mmap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGEMAP = Path("/proc/self/pagemap")
_ENTRY_BYTES = 8
# Of `sync_file_range`.
_WRITE = 2
# The highest byte of an entry: the page is in memory or swapped out, and whose it is.
_THERE = 0xC0
_OF_FILE = 0x20
_UNTOUCHED = bytes(byte for byte in range(256) if not byte & _THERE or byte & _OF_FILE)


class Private(NamedTuple):
    """Memory that is mapped: an array that stands for it, where it begins, and what unmaps it."""

    array: ctypes.Array[ctypes.c_ubyte]
    address: int
    unmap: Callable[[], object]


def private_mapping(number: int, size: int) -> Private:
    """The open file as memory of one's own. OSError where that cannot be.

    By hand: an `mmap` keeps a descriptor of its own, and a program may hold thousands of arrays.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    address = libc.mmap(None, size, protection, mmap.MAP_PRIVATE, number, 0)
    if address in {None, ctypes.c_void_p(-1).value}:
        raise OSError(ctypes.get_errno(), "a content cannot be mapped")
    array = (ctypes.c_ubyte * size).from_address(address)
    unmap = partial(libc.munmap, ctypes.c_void_p(address), ctypes.c_size_t(size))
    return Private(array, address, unmap)


def address_of(data: memoryview) -> int:
    """Where bytes that may be written to begin."""
    return ctypes.addressof(ctypes.c_char.from_buffer(data))


def write_back(number: int, offset: int, size: int) -> None:
    """Have the disk begin with this part of a file, and do not wait for it.

    What is written meanwhile and synced in the end takes half the time. Nothing is promised.
    """
    begin = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if begin is not None:  # Linux
        begin(number, ctypes.c_int64(offset), ctypes.c_int64(size), ctypes.c_uint(_WRITE))


def are_unchanged(address: int, size: int) -> bool:
    """Whether private memory is still the file's own, page by page, by what the kernel says.

    A page that was written to is the process's own from then on. False also where the kernel does
    not say.
    """
    first = address // mmap.PAGESIZE
    count = (address + size - 1) // mmap.PAGESIZE + 1 - first
    try:
        with _PAGEMAP.open("rb", buffering=0) as file:
            file.seek(first * _ENTRY_BYTES)
            entries = file.read(count * _ENTRY_BYTES) or b""
    except OSError:
        return False
    if len(entries) < count * _ENTRY_BYTES:
        return False
    return not entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES].translate(None, _UNTOUCHED)
