"""Files as private memory of this process, and whether such memory was changed since."""

from __future__ import annotations

import ctypes
import mmap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGEMAP = Path("/proc/self/pagemap")
_ENTRY_BYTES = 8
# The highest byte of an entry: the page is in memory or swapped out, and whose it is.
_THERE = 0xC0
_OF_FILE = 0x20
_UNTOUCHED = bytes(byte for byte in range(256) if not byte & _THERE or byte & _OF_FILE)


def private_mapping(
    number: int, size: int
) -> tuple[ctypes.Array[ctypes.c_ubyte], Callable[[], object]]:
    """The open file as memory of one's own, and what unmaps it. OSError where that cannot be.

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
    return array, partial(libc.munmap, ctypes.c_void_p(address), ctypes.c_size_t(size))


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
