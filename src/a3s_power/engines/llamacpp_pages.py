"""Pages: the mapped weights that llama.cpp has rearranged lie in memory a second time until they are given back.

Mapping a file, and giving that back, takes two thirds of the time of reading the file into buffers of its own.
"""

import ctypes
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from a3s_power.gguf.facts import is_rearranged
from a3s_power.gguf.layout import Header

_MAP: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ +(.+)$", re.MULTILINE)


class _Map(NamedTuple):
    """Addresses of this process at which a file lies, and the place in the file where that begins."""

    begin: int
    end: int
    offset: int


def give_back(file: str, header: Header) -> None:
    """Let the system have the pages of what was rearranged of a file. They are read again, should anybody use them."""
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for begin, end in _addresses(_maps(os.path.realpath(file)), _rearranged(header)):
        # What cannot be given back, such as locked pages, stays.
        advise(begin, end - begin, mmap.MADV_DONTNEED)


def _rearranged(header: Header) -> Sequence[tuple[int, int]]:
    """Where in the file the rearranged tensors begin and end; those with less than a page between them are one."""
    places: list[tuple[int, int]] = []
    for tensor in sorted(filter(is_rearranged, header.tensors), key=lambda tensor: tensor.offset):
        begin = header.data_offset + tensor.offset
        first = places.pop()[0] if places and begin - places[-1][1] < mmap.PAGESIZE else begin
        places.append((first, begin + tensor.size))
    return places


def _addresses(maps: Iterable[_Map], places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The whole pages at which these places of the file lie."""
    for one in maps:
        for begin, end in places:
            first = max(one.begin, one.begin + begin - one.offset)
            last = min(one.end, one.begin + end - one.offset)
            first, last = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE, last // mmap.PAGESIZE * mmap.PAGESIZE
            if first < last:
                yield first, last


def _maps(file: str) -> list[_Map]:
    said = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    return [_Map(int(one[1], 16), int(one[2], 16), int(one[3], 16)) for one in _MAP.finditer(said) if one[4] == file]
