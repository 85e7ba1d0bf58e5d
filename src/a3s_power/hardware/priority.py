"""How much a process counts against others that want the same processors: niceness, that of its session, its turns.

Linux can share processors out among sessions first (autogroups); niceness then counts within one only.
"""

import ctypes
import os
import platform
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
_TURN_NANOSECONDS: Final = 100_000
"""The shortest there is."""
_NOT_INHERITED: Final = 1
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""`struct sched_attr` of sched_setattr(2): size, policy, flags, niceness, priority, runtime, deadline, period."""


def lower(pid: int, by: int) -> None:
    """Let others go before a process, by so many steps of niceness. What cannot be changed stays as it is."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, by)
    with suppress(OSError):
        set_session(pid, by)


def session(pid: int) -> int | None:
    """The niceness of a process's session; `None` where it has none of its own, or there is no such process."""
    try:
        said = _file(pid).read_text(encoding="ascii").rpartition(" ")[2].strip()
    except OSError:
        return None
    return int(said) if said.lstrip("-").isdecimal() else None


def set_session(pid: int, niceness: int) -> None:
    """Change it. Raises BlockingIOError where the system may take it a moment later, any other OSError for good."""
    _file(pid).write_text(str(niceness), encoding="ascii")


def short_turns() -> bool:
    """Have the calling thread run in short turns, and so be let in at once before others when it wakes.

    It gets no more of a processor in all. What it starts later runs in turns as usual. False where nothing was changed:
    that is there on Linux only, and since 6.12 it has the effect.
    """
    number = _SCHED_SETATTR.get(platform.machine()) if sys.platform == "linux" else None
    # Whoever has put this process into another class meant something by it.
    if number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    said = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, _NOT_INHERITED, niceness, 0, _TURN_NANOSECONDS, 0, 0)
    return bool(ctypes.CDLL(None).syscall(number, 0, said, 0) == 0)


def _file(pid: int) -> Path:
    return Path(f"/proc/{pid}/autogroup")
