"""Courtesy: a child that loads leaves the processors to the children that answer, where Linux has groups for that."""

import errno
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from a3s_power.aio import in_thread
from a3s_power.log import get_logger

log = get_logger(__name__)

_BEHIND: Final = 12
"""A group of this niceness has a fifteenth of another's weight: on two cores that are both at work, a generation loses
less than a tenth of its speed to a load beside it, which takes a few seconds instead of one."""
_TRIES: Final = 20
_PAUSE: Final = 0.1
"""Seconds after which the system takes the next change, which it does not more often."""


@asynccontextmanager
async def courteous(pid: int) -> AsyncIterator[None]:
    """Meanwhile the processors are for others first, for the whole session that this process leads.

    A niceness could not be taken back without privileges. Where there are no such groups, nothing happens.
    """
    behind = _is_ours(pid) and _put(pid, _BEHIND)
    try:
        yield
    finally:
        if behind:
            with anyio.CancelScope(shield=True):
                await in_thread(_put_back, pid)


def _is_ours(pid: int) -> bool:
    """Whether it is a child of this process: nobody else's is put behind anything."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[1]) == os.getpid()


def _put(pid: int, niceness: int) -> bool:
    """Whether the system took it; it may take one a moment later that it does not take now."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness), encoding="ascii")
    except OSError as error:
        # A process that is no more needs nothing.
        return error.errno in {errno.ENOENT, errno.ESRCH} and niceness == 0
    return True


def _put_back(pid: int) -> None:
    for _ in range(_TRIES):
        if _put(pid, 0):
            return
        time.sleep(_PAUSE)
    log.warning("a model's child stays behind others: the system does not take its priority back", pid=pid)
