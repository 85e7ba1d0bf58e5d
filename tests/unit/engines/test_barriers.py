"""Threads that make an engine's give way while others compute; each case is a process with an OpenMP of its own."""

import ctypes.util
import os
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

BOUND = """
import ctypes, os, threading
from a3s_power.engines.barriers import Barriers, unbound
allowed = os.sched_getaffinity(0)
with unbound():
    library = ctypes.CDLL("libgomp.so.1")
print(os.sched_getaffinity(0) == allowed)
library.GOMP_parallel(ctypes.CDLL(None).free, None, ctypes.c_uint(len(allowed)), ctypes.c_uint(0))
os.sched_setaffinity(0, allowed)
# Those of before: what a crowd is made of comes later, a thread for each, and where that lies is of no matter.
engine = os.listdir("/proc/self/task")
def places():
    return sorted(len(os.sched_getaffinity(int(task))) for task in engine)
bound = [1] * (len(allowed) - 1) + [len(allowed)]
print(places() == bound)
barriers = Barriers(len(allowed))
barriers.crowded(others=True)
print(set(places()) == {len(allowed)})
barriers.crowded(others=False)
print(places() == bound)
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


@linux
@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="needs two processors")
def test_bound_threads_are_let_go_while_others_compute_and_bound_again_afterwards() -> None:
    environ = {"PATH": os.environ["PATH"], "OMP_PROC_BIND": "true"}
    said = subprocess.check_output([sys.executable, "-c", BOUND], text=True, env=environ)
    assert said == "True\n" * 4


def _said(loaded: str, threads: int) -> str:
    return subprocess.check_output([sys.executable, "-c", PROGRAM, loaded, str(threads)], text=True)
