"""The processor time of processes, and how they step back behind others."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from a3s_power.hardware.priority import lower
from a3s_power.hardware.times import all_processors_seconds, processor_seconds

_TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    yield process
    process.kill()
    process.communicate()


def a_process(root: Path, pid: int, user: int, system: int, children: str = "") -> None:
    folder = root / f"proc/{pid}/task/{pid}"
    folder.mkdir(parents=True)
    (folder / "children").write_text(children)
    fields = ["S", *["0"] * 10, str(user), str(system), *["0"] * 20]
    (root / f"proc/{pid}/stat").write_text(f"{pid} (a (name) of its own) {' '.join(fields)}\n")


def test_time_is_that_of_a_process_and_its_children(tmp_path: Path) -> None:
    a_process(tmp_path, 7, 3 * _TICKS, _TICKS, "8 9 ")
    a_process(tmp_path, 8, 0, 2 * _TICKS)
    assert processor_seconds(7, tmp_path) == pytest.approx(6)
    assert processor_seconds(9, tmp_path) == 0


def test_all_time_but_that_of_idle_processors_counts(tmp_path: Path) -> None:
    assert all_processors_seconds(tmp_path) == 0
    (tmp_path / "proc").mkdir()
    times = " ".join(str(_TICKS * number) for number in (1, 2, 4, 1000, 500, 8, 16, 32, 3, 3))
    (tmp_path / "proc/stat").write_text(f"cpu  {times}\ncpu0 {times}\n")
    assert all_processors_seconds(tmp_path) == pytest.approx(63)


def test_a_process_steps_back(child: subprocess.Popen[bytes]) -> None:
    before = os.getpriority(os.PRIO_PROCESS, child.pid)
    lower(child.pid, before + 4)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == before + 4


def test_one_that_is_no_more_is_left_alone() -> None:
    lower(2**30, 5)
