"""What a child does before anything else: die with its parent, and leave no core dump."""

import ctypes
import os
import resource
import signal
import sys

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def die_with(parent: int) -> bool:
    """Ask the kernel to kill this process when its parent ends; False when the parent has ended already.

    Outside Linux the closed link to the parent is the only sign, and this says True.
    """
    if sys.platform != "linux":
        return True
    ctypes.CDLL(None, use_errno=True).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def no_core_dump() -> None:
    """A crash shall not write prompts to disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
