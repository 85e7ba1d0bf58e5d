"""How much faster a built engine is here: the same model on it and on the prebuilt one, in turns."""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from a3s_power.core.errors import EngineFailed
from a3s_power.core.events import Done
from a3s_power.core.model import ModelFiles
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.engines.engine import LoadOptions
from a3s_power.native import trial
from a3s_power.native.shelf import OWN, WHEEL, Measured, Speed
from a3s_power.runner.frames import Run
from a3s_power.runner.process import RunnerProcess, spawn

_PROMPT_TOKENS: Final = 512
_OUTPUT_TOKENS: Final = 64
_ROUNDS: Final = 4


def measure(program: Path, environ: Mapping[str, str], cores: int, tell: Callable[[int, int], None]) -> Measured:
    """The best of some rounds on either. Raises what a load or an answer of either raises."""
    return asyncio.run(_measure(program, environ, cores, tell))


async def _measure(program: Path, environ: Mapping[str, str], cores: int, tell: Callable[[int, int], None]) -> Measured:
    best = {WHEEL: Speed(0.0, 0.0), OWN: Speed(0.0, 0.0)}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "trial.gguf"
        trial.write_model(model)
        async with AsyncExitStack() as stack:
            runners = {}
            for engine in best:
                runner = await spawn(engine, environ=environ)
                stack.push_async_callback(runner.stop)
                path = str(program) if engine == OWN else ""
                options = LoadOptions(context_length=1024, batch=512, threads=cores, threads_batch=cores, program=path)
                await runner.load(ModelFiles(weights=str(model)), options)
                runners[engine] = runner
            for number in range(_ROUNDS):
                tell(number, _ROUNDS)
                for engine, runner in runners.items():
                    found = await _speed(runner, number)
                    so_far = best[engine]
                    best[engine] = Speed(max(found.prompt, so_far.prompt), max(found.output, so_far.output))
    return Measured(wheel=best[WHEEL], native=best[OWN])


async def _speed(runner: RunnerProcess, number: int) -> Speed:
    """A prompt that has nothing in common with the one before it, and its answer."""
    text = trial.prompt(_PROMPT_TOKENS + number)[number:][::-1]
    options = Options.merged(DEFAULTS, Options(temperature=0.0, num_predict=_OUTPUT_TOKENS))
    async with runner.run(Run(text=text, options=options)) as events:
        async for event in events:
            if isinstance(event, Done) and event.usage.prompt_ns and event.usage.output_ns:
                usage = event.usage
                read = usage.prompt_tokens - usage.cached_tokens
                return Speed(read / usage.prompt_ns * 1e9, usage.output_tokens / usage.output_ns * 1e9)
    raise EngineFailed("the engine told no speed")
