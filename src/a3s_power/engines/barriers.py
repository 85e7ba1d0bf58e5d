"""Barriers: how long OpenMP's threads spin at one before they sleep: hardly at all while another engine computes."""

import ctypes
import os
import threading
from typing import Any, Final

_LIBRARY: Final = "libgomp.so.1"


class Barriers:
    """The barriers of this process's OpenMP, for an engine of so many threads.

    GCC's libgomp spins `GOMP_SPINCOUNT` times at a barrier, but a hundred times at most while the process has more
    threads than there are processors (`do_spin` in its config/linux/wait.h, `gomp_managed_threads` in team.c). So a
    few more threads, which do nothing, make the engine's give way, and when they end it is as before. With another
    OpenMP, or none, nothing happens.
    """

    def __init__(self, threads: int) -> None:
        self._more = max(2, _processors() - threads + 2)
        self._over: threading.Event | None = None

    def crowded(self, *, others: bool) -> None:
        """Whether other engines want the same processors now. Not to be called by two threads at once."""
        if others and self._over is None and (library := _openmp()) is not None:
            self._over = threading.Event()
            threading.Thread(target=self._hold, args=(library, self._over), name="crowd", daemon=True).start()
        elif not others and self._over is not None:
            self._over.set()
            self._over = None

    def _hold(self, library: Any, over: threading.Event) -> None:  # noqa: ANN401 -- a C library
        # Each of them frees nothing, which is as little as a function of C that takes a pointer can do.
        library.GOMP_parallel(ctypes.CDLL(None).free, None, ctypes.c_uint(self._more), ctypes.c_uint(0))
        # They belong to this thread and end with it.
        over.wait()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _openmp() -> Any:  # noqa: ANN401 -- a C library, or None
    """The OpenMP that this process has loaded already; another copy would know nothing of the engine's threads."""
    try:
        return ctypes.CDLL(_LIBRARY, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except (OSError, AttributeError):
        return None
