"""Models as the server loads them, without a server: a scheduler over files, for benches that compare ways to load."""

import functools
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from a3s_power.core.events import Done
from a3s_power.core.model import ModelFiles
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.core.usage import Usage
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.hardware.machine import Machine
from a3s_power.runner.frames import Run
from a3s_power.runner.process import spawn
from a3s_power.runner.runner import Runner
from a3s_power.scheduler import calibration, placement
from a3s_power.scheduler.calibration import Subject
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.settings import Settings
from a3s_power.scheduler.tunings import Tunings
from tests.scheduling import a_need

start = functools.partial(spawn, environ=os.environ)
"""How children are started here."""


def need(weights: Path, name: str = "a", **said: Any) -> Need:  # noqa: ANN401 -- options
    """A need of a file's model, under a name of its own; load options by name."""
    wanted = a_need(name, facts=facts(read_header(weights)), **said)
    return msgspec.structs.replace(
        wanted, model=msgspec.structs.replace(wanted.model, files=ModelFiles(weights=str(weights.resolve())))
    )


async def calibrated(wanted: Need, tunings: Tunings, threads: int) -> None:
    """Measure the settings for a model, as the server would when it is idle, unless that was done; prints them."""
    facts_of, engine = wanted.model.facts, wanted.engine
    if not tunings.of(facts_of, engine):
        subject = Subject(
            weights=wanted.model.files.weights, facts=facts_of, engine=engine, threads=threads, threads_batch=threads
        )
        binding = placement.binding(engine, threads, Machine.look())
        measured = await calibration.measure(subject, start, binding=binding)
        if not measured:
            print("  too much else runs here to calibrate: the rules without it hold")
            return
        tunings.learn(facts_of, engine, "", measured)
        tunings.save()
    for rates in tunings.of(facts_of, engine):
        print(f"  {calibration.described(rates)}")


@asynccontextmanager
async def scheduling(tunings: Tunings | None = None, spin: str = "") -> AsyncIterator[Scheduler]:
    """A scheduler as the server has it, which calibrates nothing by itself. `spin` is another GOMP_SPINCOUNT."""
    settings = Settings(calibrate=False, max_loaded=2, keep_alive=-1)

    async def spinning(engine: str, own: Mapping[str, str]) -> Runner:
        return await start(engine, {**own, **({"GOMP_SPINCOUNT": spin} if spin else {})})

    async with Scheduler(settings, spinning, tunings=tunings) as scheduler:
        yield scheduler


async def prompt(runner: Runner, tokens: int, start_at: int) -> str:
    """A text of so many tokens, another one for every start."""
    text = " ".join(str(number * number + start_at) for number in range(7, tokens + 7))
    return await runner.detokenize((await runner.tokenize(text))[:tokens])


async def answered(runner: Runner, text: str, tokens: int) -> tuple[float, Usage]:
    """How many seconds an answer of so many tokens took, and what was used."""
    options = Options(temperature=0.0, seed=1, num_predict=tokens, ignore_eos=True)
    run = Run(text=text, options=Options.merged(DEFAULTS, options))
    began = time.perf_counter()
    async with runner.run(run) as events:
        last = [event async for event in events][-1]
    assert isinstance(last, Done), last
    assert last.usage.output_tokens == tokens, last
    return time.perf_counter() - began, last.usage
