"""Threads that make an engine's give way while others compute; each case is a process with an OpenMP of its own."""

import ctypes.util
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, sys, time
from a3s_power.engines.barriers import Barriers
if sys.argv[1] == "loaded":
    ctypes.CDLL("libgomp.so.1")
tasks = lambda: len(os.listdir("/proc/self/task"))
def settled(count):
    end = time.monotonic() + 30
    while tasks() != count and time.monotonic() < end:
        time.sleep(0.001)
    return tasks()
barriers, cpus = Barriers(int(sys.argv[2])), len(os.sched_getaffinity(0))
before = tasks()
barriers.crowded(others=True)
barriers.crowded(others=True)
more = max(2, cpus - int(sys.argv[2]) + 2) if sys.argv[1] == "loaded" else 0
print(settled(before + more) - before == more)
barriers.crowded(others=False)
barriers.crowded(others=False)
print(settled(before) == before)
"""

linux = pytest.mark.skipif(
    sys.platform != "linux" or ctypes.util.find_library("gomp") is None, reason="needs GCC's OpenMP"
)


@linux
@pytest.mark.parametrize("threads", [1, 2, 500])
def test_more_threads_than_processors_while_others_compute_and_none_of_them_afterwards(threads: int) -> None:
    assert _said("loaded", threads) == "True\nTrue\n"


@linux
def test_where_no_openmp_is_loaded_nothing_happens() -> None:
    assert _said("not loaded", 2) == "True\nTrue\n"


def _said(loaded: str, threads: int) -> str:
    return subprocess.check_output([sys.executable, "-c", PROGRAM, loaded, str(threads)], text=True)
