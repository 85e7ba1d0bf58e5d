"""A child that steps back while it loads."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from a3s_power.runner.courtesy import courteous


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session, as the children that hold models do."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    yield process
    process.kill()
    process.communicate()


def niceness(pid: int) -> int:
    group = Path(f"/proc/{pid}/autogroup")
    said = group.read_text(encoding="ascii") if group.exists() else ""
    if not said:
        pytest.skip("the system has no groups of sessions, or this one is in none")
    return int(said.rpartition(" ")[2])


async def test_it_is_behind_others_meanwhile_and_not_afterwards(child: subprocess.Popen[bytes]) -> None:
    assert niceness(child.pid) == 0
    async with courteous(child.pid):
        assert niceness(child.pid) > 0
    assert niceness(child.pid) == 0


async def test_it_counts_for_more_after_a_while(child: subprocess.Popen[bytes]) -> None:
    async with courteous(child.pid, 0.2):
        first = niceness(child.pid)
        with anyio.fail_after(30):
            while niceness(child.pid) == first:
                await anyio.sleep(0.01)
        assert 0 < niceness(child.pid) < first
    assert niceness(child.pid) == 0


async def test_it_comes_back_whatever_went_wrong(child: subprocess.Popen[bytes]) -> None:
    niceness(child.pid)
    with pytest.raises(ZeroDivisionError):
        async with courteous(child.pid):
            raise ZeroDivisionError
    assert niceness(child.pid) == 0


async def test_a_process_that_is_no_more_is_left_alone(child: subprocess.Popen[bytes]) -> None:
    async with courteous(child.pid):
        child.kill()
        child.wait()
    async with courteous(child.pid):
        pass


async def test_only_children_of_ours_step_back() -> None:
    before = niceness(os.getpid())
    async with courteous(os.getpid()):
        assert niceness(os.getpid()) == before
