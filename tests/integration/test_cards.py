"""Real children and a fake NVML, loaded for real: what a child sees of cards, and what becomes of it without them."""

import functools
import os
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from a3s_power.hardware.machine import Machine
from a3s_power.runner import process
from a3s_power.runner.runner import Runner
from a3s_power.scheduler.devices import Gpus
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.settings import Settings
from tests.cards import a_root, compiled
from tests.scheduling import a_need

FIRST, SECOND = (f"GPU-0000000{card}-1111-2222-3333-444444444444" for card in range(2))


def seen(runner: Runner) -> str:
    """What the child's environment says of cards."""
    world = Path(f"/proc/{runner.pid}/environ").read_bytes().split(b"\0")
    return next(each.decode().partition("=")[2] for each in world if each.startswith(b"CUDA_VISIBLE_DEVICES="))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="environments of others cannot be read here")
async def test_a_child_sees_its_card_until_that_is_lost(tmp_path: Path) -> None:
    nvml = compiled(tmp_path)
    root = a_root(tmp_path / "root", {"proc/driver/nvidia/version": "NVRM\n"})
    look = functools.partial(Machine.look, root, {"CUDA_VISIBLE_DEVICES": "0,1"}, (nvml.path,))

    async def spawn(engine: str, visible: Mapping[str, str]) -> Runner:
        return await process.spawn(engine, visible, environ=os.environ, scratch=tmp_path)

    gpus = Gpus(kinds={"echo": frozenset({"cuda"})}, watch_seconds=0.0, settle_seconds=0.0)
    need = a_need(engine="echo", num_ctx=4096)
    with anyio.fail_after(60):
        async with Scheduler(Settings(gpus=gpus), spawn, look=look) as scheduler:
            async with scheduler.acquire(need) as lease:
                assert seen(lease.runner) == FIRST
                assert lease.options.gpu_layers == -1
            nvml.library.fake_lost(0)
            while scheduler.resident():
                await anyio.lowlevel.checkpoint()
            assert scheduler.degraded == (
                f"graphics processor Fake Card 0 ({FIRST}) is gone",
                "graphics processor 0: GPU is lost",
            )
            async with scheduler.acquire(need) as lease:
                assert seen(lease.runner) == SECOND
    assert nvml.opened == 0
