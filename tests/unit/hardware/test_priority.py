"""Turns on a processor, as the system itself tells them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import os, threading
from a3s_power.hardware.priority import short_turns
from tests.turns import turn
before, niceness = turn(), os.nice(3)
assert short_turns()
later = []
thread = threading.Thread(target=lambda: later.append(turn()))
thread.start()
thread.join()
print(before.nanoseconds, turn().nanoseconds, later[0].nanoseconds, turn().niceness, later[0].niceness)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such turns")
def test_the_thread_that_asks_has_short_turns_and_no_other() -> None:
    before, now, of_threads, niceness, niceness_of_threads = (
        int(word) for word in subprocess.check_output([sys.executable, "-c", PROGRAM], text=True, cwd=ROOT).split()
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
