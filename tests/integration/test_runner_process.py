"""The server's handle on a real child: jobs, cancels, deaths, and nothing left behind."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.errors import EngineFailed, EngineMissing, LoadFailed, OutOfMemory, PromptTooLong, RunnerDied
from a3s_power.core.events import Done, Event, Text
from a3s_power.core.model import ModelFiles
from a3s_power.runner.frames import Embed
from a3s_power.runner.process import spawn
from tests.models import tiny_llama
from tests.obedient import TARGET
from tests.runners import DEADLINE, answer, events, load_options, loaded, raw, spawned, until
from tests.shared import REPOSITORY

pytestmark = pytest.mark.anyio

PROMISED = 0.25
"""Seconds until a slot that nobody waits for any more is free; a median, for the machine may be busy."""


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


async def test_a_child_repeats_its_prompt_and_says_what_it_took(tmp_path: Path) -> None:
    async with loaded("echo", tmp_path) as runner:
        said = await events(runner, raw("one two three"))
        assert said[:-1] == [Text("one"), Text(" two"), Text(" three")]
        assert isinstance(said[-1], Done)
        assert (said[-1].usage.prompt_tokens, said[-1].usage.output_tokens) == (3, 3)
        assert runner.busy == 0


async def test_the_engine_is_measured_alone(tmp_path: Path) -> None:
    async with loaded("echo", tmp_path) as runner:
        streams = await runner.measure(["one two three", "four five six seven"], 2)
        assert sorted(one[:3] for one in streams) == [(3, 0, 2), (4, 0, 2)]
        assert all(0 < one.first_ns <= one.whole_ns for one in streams)
        assert (runner.busy, runner.stuck_seconds) == (0, 0.0)


async def test_jobs_run_side_by_side(tmp_path: Path) -> None:
    async with loaded(TARGET, tmp_path) as runner, runner.run(raw("hold")) as held:
        assert await anext(held) == Text("held")
        answers = await asyncio.gather(*(answer(runner, raw(f"number {n}")) for n in range(20)))
        assert [text for text, _ in answers] == [f"number {n}" for n in range(20)]
        assert (runner.busy, runner.draining) == (1, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="counts how often a thread has slept by what Linux tells")
async def test_a_child_that_speaks_does_not_wake_its_ear(tmp_path: Path) -> None:
    """The thread that reads sleeps through all that the parent takes in, for there is nothing for it to read."""
    async with loaded("llamacpp", tmp_path) as runner:
        before = slept(runner.pid)
        said = await events(runner, raw("la " * 20, num_predict=200, ignore_eos=True))
        assert len(said) > 100
        assert slept(runner.pid) - before < 20


def slept(thread: int) -> int:
    status = Path(f"/proc/{thread}/task/{thread}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


async def test_leaving_cancels_the_job_and_its_slot_is_let_go(tmp_path: Path) -> None:
    async with loaded(TARGET, tmp_path) as runner:
        waits = []
        for _ in range(5):
            async with runner.run(raw("hold")) as stream:
                await anext(stream)
            assert (runner.busy, runner.draining) == (1, 1)
            left = time.perf_counter()
            await until(lambda: runner.busy == 0)
            waits.append(time.perf_counter() - left)
        assert sorted(waits)[2] < PROMISED


async def test_leaving_returns_at_once_although_the_engine_goes_on(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with loaded(TARGET, tmp_path) as runner:
        async with asyncio.timeout(DEADLINE), runner.run(raw(f"deaf {gate}")) as stream:
            await anext(stream)
        assert (await answer(runner, raw("others go on")))[0] == "others go on"
        assert runner.draining == 1
        gate.touch()
        await until(lambda: runner.busy == 0)


async def test_a_job_may_end_on_its_own_while_its_cancel_is_under_way(tmp_path: Path) -> None:
    async with loaded("echo", tmp_path) as runner:
        for _ in range(50):
            async with runner.run(raw("a b")) as stream:
                await anext(stream)
        await until(lambda: runner.busy == 0)
        assert (await answer(runner, raw("still there")))[0] == "still there"


async def test_an_error_of_the_engine_arrives_as_what_it_is(tmp_path: Path) -> None:
    async with loaded("echo", tmp_path, context_length=3) as runner:
        with pytest.raises(PromptTooLong, match='"n_prompt_tokens":4,"n_ctx":3'):
            await events(runner, raw("this is too long", truncate=False))
        assert runner.busy == 0


async def test_an_error_that_is_none_of_ours_fails_only_its_job(tmp_path: Path) -> None:
    async with loaded(TARGET, tmp_path) as runner:
        with pytest.raises(EngineFailed, match="ZeroDivisionError: not one of ours"):
            await events(runner, raw("raise"))
        assert (await answer(runner, raw("and on")))[0] == "and on"


async def test_vectors_and_tokens_cross_whole(tmp_path: Path) -> None:
    async with loaded("echo", tmp_path) as runner:
        texts = tuple(f"text {n}" for n in range(100))
        vectors = await runner.embed(Embed(texts=texts))
        assert (len(vectors.rows), vectors.prompt_tokens) == (100, 200)
        assert vectors.rows[7] == (await runner.embed(Embed(texts=("text 7",)))).rows[0]
        tokens = await runner.tokenize("a b a")
        assert await runner.detokenize(tokens) == "a b a"


async def test_no_texts_are_no_vectors(tmp_path: Path) -> None:
    async with loaded("echo", tmp_path) as runner:
        assert (await runner.embed(Embed(texts=()))).rows == ()


async def test_a_load_tells_how_far_it_is(tmp_path: Path) -> None:
    gate, seen = tmp_path / "gate", list[float]()
    async with spawned(TARGET, tmp_path) as runner:
        before = runner.last_progress
        load = asyncio.create_task(runner.load(ModelFiles(weights=f"wait {gate}"), load_options(), seen.append))
        await until(lambda: seen)
        assert (seen, load.done(), runner.loaded) == ([0.25], False, None)
        assert runner.last_progress > before
        gate.touch()
        assert await load == runner.loaded
        assert seen[-1] == 1.0


async def test_a_load_is_ended_by_killing(tmp_path: Path) -> None:
    async with spawned(TARGET, tmp_path) as runner:
        seen = list[float]()
        load = asyncio.create_task(
            runner.load(ModelFiles(weights=f"wait {tmp_path}/never"), load_options(), seen.append)
        )
        await until(lambda: seen)
        async with asyncio.timeout(DEADLINE):
            runner.kill()
            await runner.stop()
        with pytest.raises(RunnerDied, match="was stopped"):
            await load


async def test_a_load_that_fails_says_why(tmp_path: Path) -> None:
    async with spawned(TARGET, tmp_path) as runner:
        with pytest.raises(LoadFailed, match="ZeroDivisionError: not one of ours"):
            await runner.load(ModelFiles(weights="raise"), load_options())


async def test_a_load_without_memory_is_told_apart(tmp_path: Path) -> None:
    async with spawned(TARGET, tmp_path) as runner:
        with pytest.raises(
            OutOfMemory, match=r"could not load: ggml_aligned_malloc: insufficient memory .*61035.16 MB\)$"
        ):
            await runner.load(ModelFiles(weights="no memory"), load_options())


async def test_an_abort_while_loading_carries_the_engines_last_words(tmp_path: Path) -> None:
    async with spawned(TARGET, tmp_path) as runner:
        with pytest.raises(RunnerDied, match=r"killed by SIGABRT: .*GGML_ASSERT\(everything > 0\) failed"):
            await runner.load(ModelFiles(weights="abort"), load_options())


async def test_a_death_fails_every_job_with_the_reason_and_is_told_once(tmp_path: Path) -> None:
    async with loaded(TARGET, tmp_path) as runner, runner.run(raw("hold")) as held:
        await anext(held)
        deaths = list[RunnerDied]()
        runner.on_exit(deaths.append)
        async with runner.run(raw("abort")) as dying:
            said = list[Event]()

            async def hear() -> None:
                async for event in dying:
                    said.append(event)

            with pytest.raises(RunnerDied, match=r"model runner has unexpectedly stopped.*SIGABRT.*GGML_ASSERT"):
                await hear()
            # Words that another thread was about to send die with it.
            assert said in ([Text("last words")], [])
        with pytest.raises(RunnerDied, match="SIGABRT"):
            await anext(held)
        assert [death.message for death in deaths] == [str(deaths[0])]
        assert (runner.busy, runner.draining) == (0, 0)
        with pytest.raises(RunnerDied, match="GGML_ASSERT"):
            await events(runner, raw("anyone there?"))
        runner.on_exit(deaths.append)
        assert len(deaths) == 2


async def test_a_stop_is_no_death(tmp_path: Path) -> None:
    deaths = list[RunnerDied]()
    async with loaded(TARGET, tmp_path) as runner, runner.run(raw("hold")) as held:
        runner.on_exit(deaths.append)
        await anext(held)
        await runner.stop()
        with pytest.raises(RunnerDied, match="was stopped"):
            await anext(held)
    assert deaths == []


async def test_a_child_that_is_stopped_is_gone_with_its_folder(tmp_path: Path) -> None:
    """PATH-16, PATH-17."""
    async with loaded("echo", tmp_path) as runner:
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        await asyncio.gather(runner.stop(), runner.stop())
        with pytest.raises(ProcessLookupError):
            os.kill(runner.pid, 0)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
async def test_a_child_that_does_not_listen_is_stopped_all_the_same(tmp_path: Path) -> None:
    async with loaded("echo", tmp_path) as runner:
        os.kill(runner.pid, signal.SIGSTOP)
        async with asyncio.timeout(DEADLINE):
            await runner.stop()


@pytest.mark.slow
async def test_a_hundred_kills_in_a_row_leave_nothing(
    tmp_path: Path, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    async def live_and_die() -> None:
        async with loaded(TARGET, tmp_path) as runner, runner.run(raw("hold")) as held:
            await anext(held)
            os.kill(runner.pid, signal.SIGKILL)
            with pytest.raises(RunnerDied, match="killed by SIGKILL"):
                await anext(held)

    # Other tests' threads may still be on their way out, so fewer are fine, more are not.
    threads = threading.active_count()
    await live_and_die()
    await until(lambda: threading.active_count() <= threads)
    # A server that other tests share may have children in this process, too.
    before, others = (_descriptors(), len(asyncio.all_tasks())), _children()
    # The hundred are for the loop that servers run on.
    for _ in range(100 if anyio_backend[1]["use_uvloop"] else 10):
        await live_and_die()
    await until(lambda: threading.active_count() <= threads)
    assert (_descriptors(), len(asyncio.all_tasks())) == before
    assert list(tmp_path.iterdir()) == []
    assert _children() <= others


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def test_what_a_child_writes_goes_to_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "a3s_power.runner")
    async with spawned(TARGET, tmp_path) as runner:
        with pytest.raises(RunnerDied):
            await runner.load(ModelFiles(weights="abort"), load_options())
    assert any("GGML_ASSERT" in record.message and record.levelno == logging.WARNING for record in caplog.records)


async def test_there_is_no_child_for_an_engine_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="there is no engine called 'ollama'; there are: echo, llamacpp"):
        await spawn("ollama", environ={}, scratch=tmp_path)
    async with spawned("no.such.module:Engine", tmp_path) as runner:
        with pytest.raises(EngineMissing, match=r"no\.such\.module"):
            await runner.load(ModelFiles(weights=""), load_options())


async def test_a_loaded_child_has_nothing_of_the_server(tmp_path: Path) -> None:
    program = "import sys, a3s_power.runner.child, a3s_power.engines.llamacpp\nprint(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "a3s_power.runner.child" in modules
    assert {"anyio", "asyncio", "starlette", "uvicorn", "uvloop", "logging", "a3s_power.aio"}.isdisjoint(modules)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("engine", [TARGET, "llamacpp"])
async def test_a_child_dies_with_its_server_even_in_a_load(tmp_path: Path, engine: str) -> None:
    # The real one holds Python's lock meanwhile: nothing in the child could notice anything.
    long = tmp_path / "long.gguf"
    tiny_llama(long, key_values={"llama.context_length": 32768})
    program = f"""
import asyncio, os, signal
from pathlib import Path
from tests.runners import load_options
from a3s_power.core.model import ModelFiles
from a3s_power.runner.process import spawn

async def main():
    runner = await spawn({engine!r}, environ=os.environ, scratch=Path({str(tmp_path)!r}))
    def die(fraction):
        print(runner.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    weights = {str(long)!r} if {engine!r} == "llamacpp" else "wait /never"
    await runner.load(ModelFiles(weights=weights), load_options(context_length=32768, parallel=64), die)

asyncio.run(main())
"""
    world = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    server = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=world, check=False)
    assert server.returncode == -signal.SIGKILL, server.stderr
    await until(lambda: not Path(f"/proc/{server.stdout.strip()}").exists())
