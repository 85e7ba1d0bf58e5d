"""How long a thread may run at a time, as Linux itself tells."""

import ctypes
import platform
import struct
from typing import NamedTuple

_SCHED_GETATTR = {"x86_64": 315, "aarch64": 275, "riscv64": 275}
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")


class Turn(NamedTuple):
    """Niceness, and nanoseconds: 0 on a system that does not tell."""

    niceness: int
    nanoseconds: int


def turn(thread: int = 0) -> Turn:
    """Of the thread of that number; 0 is the one that calls."""
    said = ctypes.create_string_buffer(_ATTRIBUTES.size)
    number = _SCHED_GETATTR[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, thread, said, _ATTRIBUTES.size, 0) == 0
    fields = _ATTRIBUTES.unpack(said.raw)
    return Turn(fields[3], fields[5])
