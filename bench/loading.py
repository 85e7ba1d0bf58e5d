"""What a chat loses while another model is loaded beside it: its pieces in those moments and in as long ones without.

    python -m bench.loading MODEL.gguf OTHER.gguf [--rounds 12]

One answer streams the whole time. The other model is loaded, ended, and then nothing is loaded for as long as its load
took, in turns; the speed of the answer is taken over all loads and over all pauses after them. Processor time tells
what a load takes: on a machine whose every core is at work, it is taken from somebody.
"""

import argparse
import asyncio
import bisect
import random
import time
from pathlib import Path
from typing import Final

from a3s_power.core.options import DEFAULTS, Options
from a3s_power.engines.engine import LoadOptions
from a3s_power.runner.frames import Run
from a3s_power.runner.runner import Runner
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Need
from bench import loads
from bench.sides import processor_seconds

_LEAST: Final = 0.9
_RESAMPLES: Final = 2000
_CONTEXT: Final = 2048
Span = tuple[float, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    asyncio.run(_measure(parser.parse_args()))


async def _measure(asked: argparse.Namespace) -> None:
    first, second = (loads.need(path, path.stem, num_ctx=_CONTEXT) for path in (asked.model, asked.other))
    pieces: list[float] = []
    loading: list[Span] = []
    pauses: list[Span] = []
    work = 0.0
    async with loads.scheduling() as scheduler, scheduler.acquire(first) as lease:
        streaming = asyncio.create_task(_stream(lease.runner, pieces))
        await _until_said(pieces, 8)
        for _ in range(asked.rounds):
            span, spent = await _load(scheduler, second)
            loading.append(span)
            work += spent
            await asyncio.sleep(0.2)
            began = time.perf_counter()
            await asyncio.sleep(span[1] - span[0])
            pauses.append((began, time.perf_counter()))
        streaming.cancel()
        await asyncio.wait([streaming])
    _tell(pieces, loading, pauses, work, lease.options)


async def _load(scheduler: Scheduler, need: Need) -> tuple[Span, float]:
    """Load the model and end it; when that was, without the end, and the processor seconds of its child."""
    began = time.perf_counter()
    async with scheduler.acquire(need) as lease:
        span = (began, time.perf_counter())
        work = processor_seconds(lease.runner.pid)
    scheduler.unload(need.model.weights)
    while len(scheduler.resident()) > 1:  # noqa: ASYNC110 -- nobody tells, and a bench may look
        await asyncio.sleep(0.01)
    return span, work


async def _stream(runner: Runner, pieces: list[float]) -> None:
    """One answer after the other; when each piece came."""
    options = Options(temperature=0.0, seed=1, num_predict=_CONTEXT // 2, ignore_eos=True)
    while True:
        async with runner.run(Run(text="Once", options=Options.merged(DEFAULTS, options))) as events:
            async for _ in events:
                pieces.append(time.perf_counter())  # noqa: PERF401 -- others look at the list meanwhile


async def _until_said(pieces: list[float], count: int) -> None:
    while len(pieces) < count:  # noqa: ASYNC110 -- as above
        await asyncio.sleep(0.01)


def _tell(pieces: list[float], loading: list[Span], pauses: list[Span], work: float, options: LoadOptions) -> None:
    def rate(spans: list[Span]) -> float:
        said = sum(bisect.bisect(pieces, end) - bisect.bisect(pieces, begin) for begin, end in spans)
        return said / sum(end - begin for begin, end in spans)

    pairs = list(zip(loading, pauses, strict=True))
    chance = random.Random(1)
    ratios = []
    for _ in range(_RESAMPLES):
        some = chance.choices(pairs, k=len(pairs))
        ratios.append(rate([one for one, _ in some]) / max(1e-9, rate([other for _, other in some])))
    ratios.sort()
    low, high = ratios[_RESAMPLES // 40], ratios[-_RESAMPLES // 40]
    seconds = sum(end - begin for begin, end in loading) / len(loading)
    print(f"{len(pairs)} loads of {seconds:.2f} s with {work / len(loading):.2f} s of processor time each")
    print(
        f"an answer with {options.threads} threads: {rate(loading):.2f} pieces/s while loading, {rate(pauses):.2f} else"
    )
    ratio = rate(loading) / rate(pauses)
    verdict = "yes" if ratio >= _LEAST else "no" if high < _LEAST else "cannot be told"
    print(f"loading / else: {ratio:.3f}, 95 % between {low:.3f} and {high:.3f}; at least {_LEAST}: {verdict}")


if __name__ == "__main__":
    main()
