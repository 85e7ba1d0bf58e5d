"""Threads that carry bulk bytes: they step back behind those that answer people and those that compute."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress


def start(work: Callable[[], None]) -> threading.Thread:
    """A thread that does the work and does not keep the process from ending."""
    thread = threading.Thread(target=_modest, args=(work,), daemon=True)
    thread.start()
    return thread


def _modest(work: Callable[[], None]) -> None:
    # Linux gives each thread a priority of its own; elsewhere this would be the whole process's.
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    work()
