"""Courtesy: a child that loads leaves the processors to the children that answer, where Linux has groups for that."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio

from a3s_power.aio import in_thread
from a3s_power.hardware import priority
from a3s_power.log import get_logger

log = get_logger(__name__)

_BEHIND: Final = 14
"""On two cores that are both at work a generation loses a fifteenth of its speed to the load of a gigabyte beside it,
which takes four seconds then; two fifths without, and one second. At 19, the most there is, it takes eight."""
_LONG: Final = 10.0
"""Seconds after which a load counts for more, lest it never ends where others answer all the time."""
_LESS_BEHIND: Final = 8
_TRIES: Final = 20
_PAUSE: Final = 0.1
"""Seconds after which the system takes the next change, which it does not more often."""


@asynccontextmanager
async def courteous(pid: int, long: float = _LONG) -> AsyncIterator[None]:
    """Meanwhile the processors are for others first, for the whole session that this process leads.

    After `long` seconds it counts for more. A niceness could not be taken back without privileges. Where there are no
    such groups, nothing happens.
    """
    before = priority.session(pid) if _is_ours(pid) else None
    behind = before is not None and await in_thread(_put, pid, _BEHIND)
    gain = asyncio.get_running_loop().call_later(long, _gain, pid) if behind else None
    try:
        yield
    finally:
        if before is not None and gain is not None:
            gain.cancel()
            with anyio.CancelScope(shield=True):
                if not await in_thread(_put, pid, before) and priority.session(pid) is not None:
                    log.warning("a model's child stays behind others: its priority cannot be taken back", pid=pid)


def _gain(pid: int) -> None:
    """It has been so long since the last change that the system takes this one at once, or never."""
    with suppress(OSError):
        priority.set_session(pid, _LESS_BEHIND)


def _is_ours(pid: int) -> bool:
    """Whether it is a child of this process: nobody else's is put behind anything."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[1]) == os.getpid()


def _put(pid: int, niceness: int) -> bool:
    """Whether the system takes it; it may take one a moment later that it does not take now."""
    for _ in range(_TRIES):
        try:
            priority.set_session(pid, niceness)
        except BlockingIOError:
            time.sleep(_PAUSE)
        except OSError:
            return False
        else:
            return True
    return False
