"""Calibration: an engine's settings measured on this machine, with a slice of a model, in children of their own."""

import functools
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

import anyio
import msgspec

from a3s_power.aio import in_thread
from a3s_power.core.errors import EngineFailed
from a3s_power.core.events import Done
from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts, ModelFiles
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.core.usage import Usage
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.tuning import PROMPT, Rates, faster, whole
from a3s_power.gguf.slices import write_slice
from a3s_power.hardware.priority import lower
from a3s_power.hardware.times import all_processors_seconds, processor_seconds
from a3s_power.runner.frames import Run
from a3s_power.runner.runner import Runner, Spawn
from a3s_power.scheduler.devices import HIDDEN

SLICE_BYTES: Final = 128 * MIB
"""Layers of so many bytes: more than the processor's own memories hold, and read in a blink."""
_ANSWER: Final = 24
_SHORT: Final = 16
_ROUNDS: Final = 2
"""How often each is measured; the best counts, for everything that disturbs makes it slower."""
_TRIES: Final = 4
_PASSES: Final = 2
"""How often all settings are gone through: a machine that was slower for a while was not so for one of them alone."""
LEAST_BUSY: Final = 0.8
"""An engine whose threads did not run for so much of the time, while others did, says nothing of itself."""
_NICE: Final = 10


_OTHERS: Final = 0.2
"""Processors that all else may keep busy: where many threads wait for one, the engine alone is not so busy either."""


class _Times(NamedTuple):
    """Seconds: processor time of a child, of everything, and the clock's."""

    own: float
    all: float
    clock: float

    @classmethod
    def read(cls, pid: int) -> Self:
        return cls(processor_seconds(pid), all_processors_seconds(), time.perf_counter())

    def disturbed(self, before: Self, least: float) -> bool:
        """Whether less than `least` processors were the child's since then, and others had some."""
        own, total, elapsed = (now - then for now, then in zip(self, before, strict=True))
        return own < least * elapsed and total - own > _OTHERS * elapsed


class _DisturbedError(Exception):
    """Other work on the machine leaves no time to measure anything."""


Start = Callable[[], Awaitable[Runner]]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured: a model's weights in an engine, with so many threads for answers and for prompts.

    `program` is the path of an engine that is a program of its own, `arguments` what its operator adds.
    """

    weights: str
    facts: Facts
    engine: str = "llamacpp"
    threads: int = 1
    threads_batch: int = 1
    program: str = ""
    arguments: tuple[str, ...] = ()


async def measure(
    subject: Subject,
    spawn: Spawn,
    scratch: Path | None = None,
    least_busy: float = LEAST_BUSY,
    *,
    binding: Mapping[str, str],
) -> tuple[Rates, ...]:
    """The speed of every setting, as the whole model would have it, with threads that are bound as its own would be.

    Takes some twenty seconds where nothing else runs; empty where too much does, and the engine's threads run for less
    than `least_busy` of the time. Cancelling it ends its child at once.

    Raises:
        BadFile: a model that cannot be cut into slices.
        PowerError: the engine cannot load or run the slice.
        OSError: no room for it on the disk.
    """
    with tempfile.TemporaryDirectory(prefix="a3s-slice-", dir=scratch) as folder:
        path = Path(folder) / "slice.gguf"
        part = await in_thread(write_slice, subject.weights, path, SLICE_BYTES)
        found: dict[tuple[bool, bool], Rates] = {}
        start = functools.partial(spawn, subject.engine, {**HIDDEN, **binding})
        for setting in [*_settings(subject.facts)] * _PASSES:
            options = _options(subject, repack=setting[0], flash_attention=setting[1])
            try:
                measured = whole(await _rates(options, start, str(path), least_busy), part.share, part.layers)
            except _DisturbedError:
                return ()
            found[setting] = faster(found.get(setting, measured), measured)
        return tuple(found.values())


def described(rates: Rates) -> str:
    """A setting and its speed in a line."""
    setting = f"{_with(rates.repack)} rearranged weights, {_with(rates.flash_attention)} flash attention"
    speeds = f"prompt {rates.prompt:.1f}, answer {rates.first:.1f}, behind {PROMPT} tokens {rates.behind:.1f} tokens/s"
    return f"{setting}: {speeds}, typical request {rates.seconds():.2f} s"


def _with(there: bool) -> str:  # noqa: FBT001 -- a word for it
    return "with" if there else "without"


def _settings(facts: Facts) -> Iterator[tuple[bool, bool]]:
    """Rearranged weights, and flash attention; nothing is rearranged of types that cannot be."""
    yield from itertools.product((False, True) if facts.rearranged_bytes else (False,), (False, True))


def _options(subject: Subject, *, repack: bool, flash_attention: bool) -> LoadOptions:
    return LoadOptions(
        context_length=2 * PROMPT,
        batch=PROMPT // 4,
        threads=subject.threads,
        threads_batch=subject.threads_batch,
        gpu_layers=0,
        repack=repack,
        flash_attention=flash_attention,
        shift=False,
        program=subject.program,
        arguments=subject.arguments,
    )


async def _rates(options: LoadOptions, start: Start, weights: str, least_busy: float) -> Rates:
    least = least_busy * options.threads
    async with _loaded(options, start, weights) as runner:
        short = [usage async for usage in _answers(runner, _SHORT, least)]
        long = [usage async for usage in _answers(runner, PROMPT, least)]
    return Rates(
        repack=bool(options.repack),
        flash_attention=bool(options.flash_attention),
        prompt=max(_rate(usage.prompt_tokens - usage.cached_tokens, usage.prompt_ns) for usage in long),
        first=max(_rate(usage.output_tokens, usage.output_ns) for usage in short),
        behind=max(_rate(usage.output_tokens, usage.output_ns) for usage in long),
    )


@asynccontextmanager
async def _loaded(options: LoadOptions, start: Start, weights: str) -> AsyncIterator[Runner]:
    """A child with the slice, which everything else on the machine goes before. It is killed on leaving."""
    with anyio.CancelScope(shield=True):
        runner = await start()
    try:
        lower(runner.pid, _NICE)
        await runner.load(ModelFiles(weights=weights), options)
        yield runner
    finally:
        runner.kill()
        with anyio.CancelScope(shield=True):
            await runner.stop()


async def _answers(runner: Runner, length: int, least: float) -> AsyncIterator[Usage]:
    """What some answers to prompts of so many tokens took, by at least so many busy threads. Raises _DisturbedError."""
    undisturbed = 0
    for start in range(_TRIES):
        # They begin differently, so that nothing of one is known from another.
        text = " ".join(str(number * number + start) for number in range(7, length + 7))
        prompt = await runner.detokenize((await runner.tokenize(text))[:length])
        before = _Times.read(runner.pid)
        usage = await _said(runner, prompt)
        if not _Times.read(runner.pid).disturbed(before, least):
            undisturbed += 1
            yield usage
        if undisturbed == _ROUNDS:
            return
    if not undisturbed:
        raise _DisturbedError


async def _said(runner: Runner, text: str) -> Usage:
    """What an answer to this took. A slice's answers make no sense."""
    options = Options(temperature=0.0, seed=1, num_predict=_ANSWER, ignore_eos=True)
    run = Run(text=text, options=Options.merged(DEFAULTS, options), truncate=False, shift=False)
    async with runner.run(run) as events:
        last = [event async for event in events][-1]
    if not isinstance(last, Done):
        raise EngineFailed("a slice of the model gave no answer")
    return last.usage


def _rate(tokens: int, nanoseconds: int) -> float:
    """Tokens a second. Raises EngineFailed for what took no time."""
    if tokens < 1 or nanoseconds < 1:
        raise EngineFailed("a slice of the model gave no answer")
    return tokens / nanoseconds * 1e9
