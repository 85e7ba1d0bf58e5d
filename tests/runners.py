"""Real children for tests: spawned, loaded, and gone when the test ends.

With A3S_POWER_TEST_ENGINE=llamaserver in the environment, tests of llama.cpp run on a llama-server instead.
"""

import asyncio
import functools
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from a3s_power.core.events import Done, Event, Text
from a3s_power.core.model import ModelFiles
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.engines.engine import LoadOptions
from a3s_power.runner.frames import Run
from a3s_power.runner.process import RunnerProcess, spawn
from tests import llama_server
from tests.shared import BUILTIN_MODEL, REPOSITORY

DEADLINE = 30.0
LLAMA: Final = os.environ.get("A3S_POWER_TEST_ENGINE", "llamacpp")
"""What runs where a test asks for llama.cpp."""


@asynccontextmanager
async def spawned(engine: str, scratch: Path) -> AsyncIterator[RunnerProcess]:
    """A child that has loaded nothing yet. Test engines are found from the repository's root."""
    name = LLAMA if engine == "llamacpp" else engine
    runner = await spawn(name, environ=os.environ | {"PYTHONPATH": str(REPOSITORY)}, scratch=scratch)
    try:
        yield runner
    finally:
        await runner.stop()


@asynccontextmanager
async def loaded(
    engine: str, scratch: Path, weights: Path | str = BUILTIN_MODEL, **options: Any
) -> AsyncIterator[RunnerProcess]:
    """A child with a model; `options` are those of the load, with a context of 512 tokens and two slots."""
    async with spawned(engine, scratch) as runner:
        await runner.load(ModelFiles(weights=str(weights)), load_options(**options))
        yield runner


def load_options(**options: Any) -> LoadOptions:
    """How tests load: small and with one thread, unless they say otherwise."""
    program = {"program": _program()} if LLAMA == "llamaserver" else {}
    return LoadOptions(**{"context_length": 512, "parallel": 2, "batch": 128} | program | options)


@functools.cache
def _program() -> str:
    """One for all tests."""
    return llama_server.program(Path(tempfile.mkdtemp(prefix="llama-server-")))


def raw(text: str, *, truncate: bool = True, top_logprobs: int | None = None, **options: Any) -> Run:
    """A run of a text as it is, greedy unless `options` of the request say otherwise."""
    merged = Options.merged(DEFAULTS, Options(temperature=0.0), Options(**options))
    return Run(text=text, options=merged, truncate=truncate, top_logprobs=top_logprobs)


async def events(runner: RunnerProcess, request: Run) -> list[Event]:
    """All that a run says."""
    async with runner.run(request) as stream:
        return [event async for event in stream]


async def answer(runner: RunnerProcess, request: Run) -> tuple[str, Done]:
    """The text of a run, and its end."""
    *said, done = await events(runner, request)
    assert isinstance(done, Done)
    return "".join(event.text for event in said if isinstance(event, Text)), done


async def until(holds: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Wait on the loop until a condition holds; fails at the deadline."""
    async with asyncio.timeout(deadline):
        while not holds():
            await asyncio.sleep(0.001)
