"""Two models that generate at once, against one alone and one after the other; in turns, in one run.

    python -m bench.two_engines MODEL.gguf [--rounds 3] [--tokens 96] [--spin 2000 10000 ...] [--threads 0 1 ...]

Both children have the same file and are loaded as the server loads them. `--spin` tries other numbers of
GOMP_SPINCOUNT, `--threads` other numbers of threads for both (0: the server's own).
"""

import argparse
import asyncio
import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path

from a3s_power.runner.runner import Runner
from a3s_power.scheduler.need import Need
from bench import loads


class Asked(argparse.Namespace):
    model: Path
    rounds: int
    tokens: int
    prompt: int
    spin: list[str]
    threads: list[int]


def main() -> None:
    """Measure every combination."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--spin", nargs="*", default=[""])
    parser.add_argument("--threads", nargs="*", type=int, default=[0])
    asked = parser.parse_args(namespace=Asked())
    for spin in asked.spin:
        for threads in asked.threads:
            asyncio.run(_measure(asked, spin, threads))


async def _measure(asked: Asked, spin: str, threads: int) -> None:
    said = {"num_thread": threads} if threads else {}
    first, second = (loads.need(asked.model, name, num_ctx=2048, **said) for name in ("a", "b"))
    alone: list[float] = []
    after: list[float] = []
    both: list[float] = []
    used: list[int] = []
    async with loads.scheduling(spin=spin) as scheduler:

        async def rate(start: int, *needs: Need) -> float:
            async with AsyncExitStack() as leases:
                held = [await leases.enter_async_context(scheduler.acquire(need)) for need in needs]
                used.extend(lease.options.threads for lease in held)
                return await _rate(asked, [lease.runner for lease in held], start)

        before_second = [await rate(number, first) for number in range(asked.rounds)]
        await rate(99, second)
        for number in range(asked.rounds):
            alone.append(await rate(100 + number, first))
            both.append(await rate(200 + number, first, second))
            after.append(statistics.harmonic_mean([await rate(300 + number, need) for need in (first, second)]))
    one_alone = statistics.median(alone)
    print(
        f"spin {spin or 'as ours'}, {max(used)} threads each: alone"
        f" {statistics.median(before_second):.1f} before the second was loaded,"
        f" {one_alone:.1f} beside it; at once {statistics.median(both):.1f}; one after the other"
        f" {statistics.median(after):.1f} tokens/s; at once / alone {statistics.median(both) / one_alone:.3f}"
        " (must be >= 0.9)",
        flush=True,
    )


async def _rate(asked: Asked, runners: list[Runner], start: int) -> float:
    """All at once: tokens a second in all, prompts included in the time."""
    texts = [await loads.prompt(runner, asked.prompt, 1000 * start + 7) for runner in runners]
    began = time.perf_counter()
    await asyncio.gather(
        *(loads.answered(runner, text, asked.tokens) for runner, text in zip(runners, texts, strict=True))
    )
    return len(runners) * asked.tokens / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
