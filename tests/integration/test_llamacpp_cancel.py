"""Whoever leaves is answered at once, and the engine's slot is free soon after: in every phase, over and over."""

import asyncio
import json
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.errors import RunnerDied
from a3s_power.core.model import ModelFiles
from a3s_power.runner.process import RunnerProcess
from tests.models import tiny_llama
from tests.runners import DEADLINE, answer, load_options, loaded, raw, spawned, until

pytestmark = pytest.mark.anyio

PROMISED = 0.25
"""Seconds until a slot that nobody waits for any more is free; a median, for the machine may be busy."""
LONG_CONTEXT = 32768


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A model that never ends an answer by itself, and may be asked for long ones."""
    path = tmp_path / "tiny.gguf"
    tiny_llama(path, key_values={"llama.context_length": LONG_CONTEXT})
    return path


def _slots(scratch: Path) -> list[dict[str, Any]]:
    """What the engine itself says of its slots."""
    (path,) = scratch.rglob("*.sock")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET /slots HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data
    slots: list[dict[str, Any]] = json.loads(received.partition(b"\r\n\r\n")[2])
    return slots


def _busy_slots(scratch: Path) -> int:
    return sum(slot["is_processing"] for slot in _slots(scratch))


def _threads(runner: RunnerProcess) -> int:
    return len(list(Path(f"/proc/{runner.pid}/task").iterdir()))


async def _free_after(runner: RunnerProcess, scratch: Path) -> float:
    """Seconds until child and engine have nothing to do."""
    start = time.perf_counter()
    await until(lambda: runner.busy == 0)
    await until(lambda: _busy_slots(scratch) == 0)
    return time.perf_counter() - start


async def test_a_slot_is_free_soon_after_its_client_left_an_answer(tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamacpp", tmp_path, tiny) as runner:
        waits = []
        for _ in range(10):
            async with runner.run(raw("x")) as stream:
                for _ in range(5):
                    await anext(stream)
                assert _busy_slots(tmp_path) == 1
            waits.append(await _free_after(runner, tmp_path))
        assert sorted(waits)[5] < PROMISED


async def test_a_slot_is_free_soon_after_its_client_left_a_prompt(tmp_path: Path, tiny: Path) -> None:
    # With batches this small, and a prompt of seconds, a cancel is heard within a batch or two.
    options = {"context_length": LONG_CONTEXT, "parallel": 1, "batch": 32}
    async with loaded("llamacpp", tmp_path, tiny, **options) as runner:
        waits = []
        for _ in range(5):
            async with runner.run(raw("x" * (LONG_CONTEXT - 100))) as stream:
                first = asyncio.ensure_future(anext(stream))
                await until(lambda: _busy_slots(tmp_path) == 1)
                assert not first.done()
                first.cancel()
            assert runner.draining == 1
            waits.append(await _free_after(runner, tmp_path))
        assert sorted(waits)[2] < PROMISED


async def test_a_job_that_waits_for_a_slot_is_let_go_too(tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamacpp", tmp_path, tiny, parallel=1) as runner, runner.run(raw("first")) as first:
        await anext(first)
        async with runner.run(raw("second")) as second:
            waiting = asyncio.ensure_future(anext(second))
            await asyncio.sleep(0)
            waiting.cancel()
        assert (runner.busy, runner.draining) == (2, 1)
        # It is heard when its turn comes: its slot is not taken for longer than a batch.
        await anext(first)
    async with asyncio.timeout(DEADLINE):
        await until(lambda: runner.busy == 0)


async def test_a_hundred_random_departures_leave_no_busy_slot(tmp_path: Path, tiny: Path) -> None:
    chance = random.Random(7)
    before = threading.active_count()

    async def client(runner: RunnerProcess) -> None:
        pieces = chance.choice([0, 0, 1, 2, 5, 30])
        async with runner.run(raw("x" * chance.choice([1, 50, 400]))) as stream:
            for _ in range(pieces):
                await anext(stream)
            if not pieces:
                await asyncio.sleep(chance.random() / 100)

    async with loaded("llamacpp", tmp_path, tiny, parallel=4) as runner:
        for _ in range(20):
            await asyncio.gather(*(client(runner) for _ in range(5)))
        await _free_after(runner, tmp_path)
        threads = _threads(runner)
        assert (await answer(runner, raw("x", num_predict=3)))[1].usage.output_tokens == 3
        await until(lambda: _threads(runner) <= threads)
    await until(lambda: threading.active_count() == before)


async def test_a_load_is_ended_by_killing_although_python_stands_still(tmp_path: Path, tiny: Path) -> None:
    async with spawned("llamacpp", tmp_path) as runner:
        seen = list[float]()
        options = load_options(context_length=LONG_CONTEXT, parallel=64)
        load = asyncio.create_task(runner.load(ModelFiles(weights=str(tiny)), options, seen.append))
        await until(lambda: seen or load.done())
        assert not load.done()
        async with asyncio.timeout(DEADLINE):
            runner.kill()
            await runner.stop()
        with pytest.raises(RunnerDied):
            await load


async def test_a_killed_child_fails_its_streams_with_a_reason(tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamacpp", tmp_path, tiny) as runner, runner.run(raw("x")) as stream:
        await anext(stream)
        os.kill(runner.pid, signal.SIGKILL)
        with pytest.raises(RunnerDied, match=r"unexpectedly stopped.*killed by SIGKILL"):
            _ = [event async for event in stream]
