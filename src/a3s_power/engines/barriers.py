"""Barriers: how an engine's OpenMP threads wait for one another, and what they leave to others that compute."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

_LIBRARY: Final = "libgomp.so.1"
_TASKS: Final = Path("/proc/self/task")


class Barriers:
    """The barriers of this process's OpenMP, for an engine of so many threads.

    GCC's libgomp spins `GOMP_SPINCOUNT` times at a barrier, but a hundred times at most while the process has more
    threads than there are processors (`do_spin` in its config/linux/wait.h, `gomp_managed_threads` in team.c). So a
    few more threads, which do nothing, make the engine's give way, and when they end it is as before. With another
    OpenMP, or none, nothing happens.

    Threads that are bound to a processor each (`OMP_PROC_BIND`) are let go meanwhile: those of two engines find a
    better order by themselves.
    """

    def __init__(self, threads: int) -> None:
        self._more = max(2, _processors() - threads + 2)
        self._over: threading.Event | None = None
        self._bound: dict[int, set[int]] = {}

    def crowded(self, *, others: bool) -> None:
        """Whether other engines want the same processors now. Not to be called by two threads at once."""
        if others and self._over is None and (library := _openmp()) is not None:
            self._over = threading.Event()
            self._bound = _bound()
            _bind(dict.fromkeys(self._bound, _allowed()))
            threading.Thread(target=self._hold, args=(library, self._over), name="crowd", daemon=True).start()
        elif not others and self._over is not None:
            self._over.set()
            self._over = None
            _bind(self._bound)

    def _hold(self, library: Any, over: threading.Event) -> None:  # noqa: ANN401 -- a C library
        # Each of them frees nothing, which is as little as a function of C that takes a pointer can do.
        library.GOMP_parallel(ctypes.CDLL(None).free, None, ctypes.c_uint(self._more), ctypes.c_uint(0))
        # They belong to this thread and end with it.
        over.wait()


@contextmanager
def unbound() -> Iterator[None]:
    """OpenMP may be loaded inside, and binds the thread that does so: all that it starts later would be, too."""
    allowed = _allowed()
    try:
        yield
    finally:
        _bind({0: allowed})


def _bound() -> dict[int, set[int]]:
    """The threads of this process that have one processor where others have several."""
    found = dict[int, set[int]]()
    for task in _TASKS.iterdir() if len(_allowed()) > 1 else ():
        with suppress(OSError):
            found[int(task.name)] = os.sched_getaffinity(int(task.name))
    return {task: processors for task, processors in found.items() if len(processors) == 1}


def _bind(places: dict[int, set[int]]) -> None:
    """Let threads run on these processors; 0 is the thread that calls. Those that are no more are left alone."""
    for task, processors in places.items():
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(task, processors)


def _allowed() -> set[int]:
    """The processors that a new thread would have; empty where nobody can tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _processors() -> int:
    return len(_allowed()) or os.cpu_count() or 1


def _openmp() -> Any:  # noqa: ANN401 -- a C library, or None
    """The OpenMP that this process has loaded already; another copy would know nothing of the engine's threads."""
    try:
        return ctypes.CDLL(_LIBRARY, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except (OSError, AttributeError):
        return None
