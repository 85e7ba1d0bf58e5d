"""One scenario, played with fake children and with real ones: what the fakes promise is what processes do."""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec
import pytest

from a3s_power.aio import task_group
from a3s_power.core.errors import RunnerDied
from a3s_power.core.events import Done, Text
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.hardware.machine import Machine
from a3s_power.runner import process
from a3s_power.runner.frames import Run
from a3s_power.runner.runner import Runner, Spawn
from a3s_power.scheduler.lease import Lease
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.settings import Settings
from tests.scheduling import FakeChildren, a_model, a_need
from tests.shared import BUILTIN_MODEL

Kill = Callable[[Runner], None]


def a_world(kind: str, scratch: Path) -> tuple[Spawn, Kill]:
    """How children are started and killed there."""
    if kind == "fake":
        children = FakeChildren()
        return children.spawn, lambda runner: children.started[runner.pid - 1].die()

    async def spawn(engine: str, visible: Mapping[str, str]) -> Runner:
        return await process.spawn(engine, visible, environ=os.environ, scratch=scratch)

    return spawn, lambda runner: os.kill(runner.pid, signal.SIGKILL)


def echo(name: str) -> Need:
    return a_need(name, engine="echo")


async def said(lease: Lease, text: str) -> str:
    async with lease.runner.run(Run(text=text)) as events:
        pieces = [event async for event in events]
    assert isinstance(pieces[-1], Done)
    return "".join(piece.text for piece in pieces if isinstance(piece, Text))


def residents(scheduler: Scheduler) -> list[str]:
    return [one.model.name.model for one in scheduler.resident()]


async def gone(scheduler: Scheduler, name: str) -> None:
    """Wait until the scheduler knows that the model's child is no more."""
    with anyio.fail_after(10):
        while name in residents(scheduler):
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", ["fake", "real"])
async def test_models_come_serve_and_go(kind: str, tmp_path: Path) -> None:
    spawn, kill = a_world(kind, tmp_path)
    pids: set[int] = set()
    with anyio.fail_after(60):
        async with Scheduler(Settings(max_loaded=2), spawn) as scheduler:
            # Two models, and a third that makes the least recently used one leave.
            for name in ("a", "b", "c"):
                async with scheduler.acquire(echo(name)) as lease:
                    assert await said(lease, f"hello {name}") == f"hello {name}"
                    pids.add(lease.runner.pid)
            assert residents(scheduler) == ["c", "b"]

            # One slot: the second client waits for the first, and has the same child.
            async with task_group() as tasks, scheduler.acquire(echo("c")) as lease:
                first, served = lease.runner.pid, anyio.Event()
                tasks.start_soon(_use, scheduler, first, served)
                assert not served.is_set()
                assert await said(lease, "one two") == "one two"
            assert served.is_set()

            # A child that dies is told of, and the next ask has a new one.
            async with scheduler.acquire(echo("c")) as lease:
                kill(lease.runner)
                await gone(scheduler, "c")
            async with scheduler.acquire(echo("c")) as lease:
                assert lease.runner.pid != first
                assert await said(lease, "again") == "again"
                pids.add(lease.runner.pid)

            # Unloading answers at once and takes the model when it is free.
            async with scheduler.acquire(echo("c")) as lease:
                scheduler.unload(echo("c").model.weights)
                assert await said(lease, "still here") == "still here"
            assert residents(scheduler) == ["b"]
    assert len(pids) == 4
    if kind == "real":
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def _use(scheduler: Scheduler, pid: int, served: anyio.Event) -> None:
    async with scheduler.acquire(echo("c")) as lease:
        assert lease.runner.pid == pid
        served.set()


async def test_a_child_killed_in_the_middle_of_an_answer_fails_that_answer_only(tmp_path: Path) -> None:
    spawn, kill = a_world("real", tmp_path)

    async def broken(scheduler: Scheduler) -> None:
        async with scheduler.acquire(echo("a")) as lease:
            os.kill(lease.runner.pid, signal.SIGSTOP)
            async with lease.runner.run(Run(text="never said")) as events:
                kill(lease.runner)
                _ = [event async for event in events]

    with anyio.fail_after(60):
        async with Scheduler(Settings(), spawn) as scheduler:
            for _ in range(5):
                with pytest.raises(RunnerDied):
                    await broken(scheduler)
                async with scheduler.acquire(echo("a")) as lease:
                    assert await said(lease, "alive") == "alive"


async def test_an_answer_that_is_stuck_fails_with_the_reason_and_its_child_is_replaced(tmp_path: Path) -> None:
    spawn, _ = a_world("real", tmp_path)

    async def frozen(scheduler: Scheduler) -> None:
        async with scheduler.acquire(echo("a")) as lease:
            os.kill(lease.runner.pid, signal.SIGSTOP)
            await said(lease, "never said")

    with anyio.fail_after(60):
        async with Scheduler(Settings(stall_timeout=2.0), spawn) as scheduler:
            with pytest.raises(RunnerDied, match=r"^model runner made no progress for 2s and was replaced$"):
                await frozen(scheduler)
            async with scheduler.acquire(echo("a")) as lease:
                assert await said(lease, "alive") == "alive"


async def test_the_engine_loads_as_planned_and_takes_what_was_foreseen(tmp_path: Path) -> None:
    """The whole way with the real engine and the built-in model."""
    spawn, _ = a_world("real", tmp_path)
    model = a_model("power-tiny", facts=facts(read_header(str(BUILTIN_MODEL))))
    files = msgspec.structs.replace(model.files, weights=str(BUILTIN_MODEL))
    need = Need(model=msgspec.structs.replace(model, files=files))
    with anyio.fail_after(60):
        async with Scheduler(Settings(num_parallel=2), spawn, look=Machine.look) as scheduler, scheduler.acquire(need):
            [resident] = scheduler.resident()
            assert resident.context_length == min(4096, model.facts.context_length)
            assert 10 * 1024**2 < resident.memory_bytes < 1024**3
