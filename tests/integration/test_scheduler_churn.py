"""Many models in a random order, with clients that leave, children that die and unloads in between: all is answered."""

import random
from collections import Counter
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import pytest

from a3s_power.aio import task_group
from a3s_power.core.errors import Busy, RunnerDied
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.settings import Settings
from tests.integration.test_scheduler import Kill, a_world, said
from tests.scheduling import a_model, a_need

_CLIENTS: Final = 6


class _Churn:
    """What clients do to a scheduler, by chance, and what became of each request."""

    def __init__(self, scheduler: Scheduler, kill: Kill, models: int, seed: int) -> None:
        self._scheduler = scheduler
        self._kill = kill
        self._models = models
        self._chance = random.Random(seed)
        self.ends: Counter[str] = Counter()
        self.pids: set[int] = set()

    async def client(self, number: int, requests: int) -> None:
        for _ in range(requests):
            end = "left"
            with anyio.CancelScope() as scope:
                async with task_group() as tasks:
                    if self._chance.random() < 0.15:
                        tasks.start_soon(_leave, scope, self._chance.randrange(30))
                    end = await self._request(number)
                    tasks.cancel_scope.cancel()
            self.ends[end] += 1

    async def _request(self, number: int) -> str:
        chance, name = self._chance, f"m{self._chance.randrange(self._models)}"
        if chance.random() < 0.05:
            self._scheduler.unload(a_model(name).weights)
        need = a_need(
            name,
            engine="echo",
            num_ctx=chance.choice([64, 128]),
            client=f"{number}",
            batch=chance.random() < 0.2,
            patience=chance.choice([0.001, 60.0, 60.0, 60.0]),
            keep_alive=chance.choice([0.0, None, 60.0]),
        )
        try:
            async with self._scheduler.acquire(need) as lease:
                self.pids.add(lease.runner.pid)
                if chance.random() < 0.05:
                    self._kill(lease.runner)
                assert await said(lease, f"hello {name}") == f"hello {name}"
        except (Busy, RunnerDied) as error:
            return error.kind
        return "answered"


async def _leave(scope: anyio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


@pytest.mark.parametrize(("kind", "models", "requests"), [("fake", 200, 100), ("real", 12, 6)])
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_comes_and_goes_every_request_ends(
    kind: str, models: int, requests: int, seed: int, tmp_path: Path
) -> None:
    spawn, kill = a_world(kind, tmp_path)
    settings = Settings(max_loaded=3, max_queue=16, num_parallel=2, context_length=64)
    with anyio.fail_after(100):
        async with Scheduler(settings, spawn, look=Machine.look, weigh=lambda _pid: 0) as scheduler:
            churn = _Churn(scheduler, kill, models, seed)
            async with task_group() as tasks:
                for number in range(_CLIENTS):
                    tasks.start_soon(churn.client, number, requests)
            assert churn.ends.total() == _CLIENTS * requests
            assert churn.ends["answered"] > churn.ends.total() // 3
            assert not scheduler.busy
            async with scheduler.acquire(a_need("last", engine="echo")) as lease:
                assert await said(lease, "still here") == "still here"
    assert kind == "fake" or not [pid for pid in churn.pids if Path(f"/proc/{pid}").exists()]
    assert not [*tmp_path.iterdir()], "private folders of children"
