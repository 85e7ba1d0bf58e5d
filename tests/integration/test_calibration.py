"""The settings of the real engine measured with slices of a model, in the background, and given up for a request."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from a3s_power.aio import task_group
from a3s_power.core.model import ModelFiles
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.hardware.machine import Machine
from a3s_power.runner.process import spawn
from a3s_power.runner.runner import Runner, Spawn
from a3s_power.scheduler import placement
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.tuner import Tuner
from a3s_power.scheduler.tunings import Tunings
from tests.models import tiny_llama
from tests.scheduling import FakeChildren, a_need

_NO_PROCESS = 2**30


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "tiny.gguf"
    tiny_llama(path, key_values={"llama.context_length": 2048})
    return path


def a_large_need(weights: Path) -> Need:
    """A need of a model that says it is large; it has nothing that can be rearranged."""
    large = msgspec.structs.replace(facts(read_header(weights)), parameters=10**9, rearranged_bytes=0)
    need = a_need("a", facts=large)
    return msgspec.structs.replace(
        need, model=msgspec.structs.replace(need.model, files=ModelFiles(weights=str(weights)))
    )


def a_machine(free_bytes: int = 0) -> Machine:
    return Machine(x86=True, cores=2, memory_bytes=free_bytes, free_bytes=free_bytes)


@asynccontextmanager
async def tuning(tunings: Tunings, start: Any, **said: Any) -> AsyncIterator[Tuner]:
    """A tuner that runs, for which it is always quiet, and any measurement good enough."""
    how: dict[str, Any] = {"busy": lambda: False, "look": a_machine, "quiet_seconds": 0, "least_busy": 0} | said
    tuner = Tuner(tunings, start, **how)
    with anyio.fail_after(60):
        async with task_group() as tasks:
            tasks.start_soon(tuner.run)
            yield tuner
            tuner.close()


def no_processes(children: FakeChildren) -> Spawn:
    """Their numbers must be nobody's, because calibration lowers the priority of what it starts."""

    async def start(engine: str, visible: Mapping[str, str]) -> Runner:
        runner = await children.spawn(engine, visible)
        runner.pid = _NO_PROCESS
        return runner

    return start


def tell_of_load(tuner: Tuner, need: Need, *, threads: int = 1, **said: Any) -> None:
    options = LoadOptions(context_length=512, threads=threads, threads_batch=threads)
    tuner.loaded(need, options, Loaded(**{"context_length": 512, "parallel": 1, "memory_bytes": 0} | said))


async def until_known(tunings: Tunings, need: Need) -> None:
    while not tunings.of(need.model.facts, "llamacpp"):
        await anyio.sleep(0.01)


async def test_settings_are_measured_and_kept(weights: Path, tmp_path: Path) -> None:
    need, file = a_large_need(weights), tmp_path / "tunings.json"
    tunings = Tunings(file)
    started = 0

    async def start(engine: str, own: Mapping[str, str]) -> Runner:
        nonlocal started
        started += 1
        return await spawn(engine, own, environ=os.environ, scratch=tmp_path)

    async with tuning(tunings, start, scratch=tmp_path) as tuner:
        tell_of_load(tuner, need)
        await until_known(tunings, need)
        while not file.exists():
            await anyio.sleep(0.01)
    measured = tunings.of(need.model.facts, "llamacpp")
    assert {(rates.repack, rates.flash_attention) for rates in measured} == {(False, False), (False, True)}
    # Each of them at two different times.
    assert started == 4
    assert all(min(rates.prompt, rates.first, rates.behind) > 0 for rates in measured)
    assert Tunings(file).of(need.model.facts, "llamacpp") == measured
    assert [path.name for path in tmp_path.iterdir()] == ["tunings.json"]


async def test_a_request_ends_it_and_it_begins_anew_when_it_is_quiet(weights: Path, tmp_path: Path) -> None:
    children, tunings, busy = FakeChildren(ready=False), Tunings(), False
    async with tuning(tunings, no_processes(children), scratch=tmp_path, busy=lambda: busy) as tuner:
        tell_of_load(tuner, a_large_need(weights))
        first = await children.child(1)
        busy = True
        tuner.asked()
        await first.stopped.wait()
        assert first.killed
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert len(children.started) == 1
        busy = False
        second = await children.child(2)
    assert second.killed
    assert second.stopped.is_set()
    assert not list(tmp_path.iterdir())
    assert not tunings.of(a_large_need(weights).model.facts, "llamacpp")


async def test_settings_are_measured_with_threads_bound_as_the_model_has_them(weights: Path, tmp_path: Path) -> None:
    children, machine = FakeChildren(ready=False), msgspec.structs.replace(a_machine(), processors=2)
    async with tuning(Tunings(), no_processes(children), scratch=tmp_path, look=lambda: machine) as tuner:
        tell_of_load(tuner, a_large_need(weights), threads=2)
        await children.child(1)
    assert placement.binding("llamacpp", 2, machine).items() <= children.visible[0].items()


@pytest.mark.parametrize("why", ["small", "on a card", "another engine", "twice"])
async def test_what_needs_no_measuring_is_not_measured(why: str, weights: Path, tmp_path: Path) -> None:
    children, tunings, need = FakeChildren(ready=False), Tunings(), a_large_need(weights)
    async with tuning(tunings, no_processes(children), scratch=tmp_path) as tuner:
        match why:
            case "small":
                small = msgspec.structs.replace(need.model.facts, parameters=10**6)
                model = msgspec.structs.replace(need.model, facts=small)
                tell_of_load(tuner, msgspec.structs.replace(need, model=model))
            case "on a card":
                tell_of_load(tuner, need, gpu_bytes=1)
            case "another engine":
                tell_of_load(tuner, msgspec.structs.replace(need, engine="echo"))
            case "twice":
                # It was loaded twice before it was quiet: once is enough.
                tell_of_load(tuner, need)
                tell_of_load(tuner, need)
                await children.child(1)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
    assert len(children.started) == (1 if why == "twice" else 0)
