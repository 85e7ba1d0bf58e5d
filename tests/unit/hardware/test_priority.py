"""Turns on a processor, as the system itself tells them."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, platform, struct, threading
from a3s_power.hardware.priority import short_turns
number = {"x86_64": 315, "aarch64": 275, "riscv64": 275}[platform.machine()]
def turn():
    said = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(number, 0, said, 48, 0) == 0
    return struct.unpack("=IIQiIQQQ", said.raw)
before, niceness = turn(), os.nice(3)
assert short_turns()
later = []
thread = threading.Thread(target=lambda: later.append(turn()))
thread.start()
thread.join()
print(before[5], turn()[5], later[0][5], turn()[3], later[0][3])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such turns")
def test_the_thread_that_asks_has_short_turns_and_no_other() -> None:
    before, now, of_threads, niceness, niceness_of_threads = (
        int(word) for word in subprocess.check_output([sys.executable, "-c", PROGRAM], text=True).split()
    )
    assert niceness == niceness_of_threads == 3
    if not before:
        pytest.skip("this system tells no turns")
    assert now == 100_000 != before
    assert of_threads == before


@pytest.mark.skipif(sys.platform == "linux", reason="Linux has such turns")
def test_where_there_are_none_nothing_is_changed() -> None:
    from a3s_power.hardware.priority import short_turns  # noqa: PLC0415

    assert short_turns() is False
