"""Our defaults against the same engine at its own: time of a request, loading, memory; in turns, in one run.

    python -m bench.defaults MODEL.gguf ... [--rounds 3] [--context 0] [--tunings FILE]

Ours is what the server loads, after a calibration on this machine (kept in FILE, if one is named): its scheduler, its
child. The other side is a child that calls the library with nothing but the path and the same context. Each round loads
anew, in an order that changes. Loading is from the start of the child to ready; memory is resident after the request.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from a3s_power.hardware import cpu
from a3s_power.hardware.memory import resident
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.tunings import Tunings
from bench import loads

_IN: Final = 512
_OUT: Final = 256
_BUDGETS: Final = {"Q4_K_M": (0.9, 0.5, 0.75)}
_NOWHERE_ABOVE: Final = (1.03, 1.03, 1.03)


class Round(NamedTuple):
    """Seconds of a request, seconds of loading, and bytes."""

    request: float
    load: float
    memory: float


def main() -> None:
    """Measure every model and print a verdict on each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--context", type=int, default=0, help="0: the server's own")
    parser.add_argument("--tunings", type=Path)
    parser.add_argument("--engine", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.engine:
        _engine()
        return
    tunings = Tunings(asked.tunings)
    for model in asked.models:
        asyncio.run(_compare(model, asked, tunings))


async def _compare(model: Path, asked: argparse.Namespace, tunings: Tunings) -> None:
    print(f"{model.name}:", flush=True)
    need = loads.need(model, **({"num_ctx": asked.context} if asked.context else {}))
    await loads.calibrated(need, tunings, cpu.cores(Path("/")))
    async with loads.scheduling(tunings) as scheduler:
        async with scheduler.acquire(need) as lease:
            context = lease.options.context_length
            prompts = [await loads.prompt(lease.runner, _IN, start) for start in range(7, 7 + asked.rounds)]
            print(f"  context {context}, {_setting(lease.options, need)}", flush=True)
        await _unloaded(scheduler, need)
        ours, theirs = [], []
        for number, text in enumerate(prompts):
            if number % 2:
                ours.append(await _ours(scheduler, need, text))
            theirs.append(await asyncio.to_thread(_theirs, model, context, text))
            if not number % 2:
                ours.append(await _ours(scheduler, need, text))
            print(f"  ours {_text(ours[-1])}; engine's defaults {_text(theirs[-1])}", flush=True)
    _report(need.model.facts.file_type, ours, theirs)


def _setting(options: Any, need: Need) -> str:  # noqa: ANN401 -- a lease's
    from a3s_power.engines.llamacpp_params import Machine, settings  # noqa: PLC0415 -- only to print

    chosen = settings(options, need.model.facts, Machine(x86=True))
    return f"batch {chosen.batch}, repack {chosen.repack}, flash attention {chosen.flash_attention}"


async def _ours(scheduler: Scheduler, need: Need, text: str) -> Round:
    async with scheduler.acquire(need) as lease:
        seconds, usage = await loads.answered(lease.runner, text, _OUT)
        # As the service does after each request: the next load's batch goes by it.
        scheduler.measured(need.model.weights, usage.prompt_tokens - usage.cached_tokens, usage.prompt_ns / 1e9)
        found = Round(seconds, lease.load_ns / 1e9, resident(lease.runner.pid))
    await _unloaded(scheduler, need)
    return found


async def _unloaded(scheduler: Scheduler, need: Need) -> None:
    scheduler.unload(need.model.weights)
    while scheduler.resident():  # noqa: ASYNC110 -- nobody tells, and a bench may look
        await asyncio.sleep(0.01)


def _theirs(model: Path, context: int, text: str) -> Round:
    order = {"model": str(model.resolve()), "context": context, "prompt": text, "answer": _OUT}
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "bench.defaults", "--engine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(order) + "\n")
        child.stdin.flush()
        child.stdout.readline()
        load = time.perf_counter() - began
        answer = json.loads(child.stdout.readline())
        found = Round(answer["seconds"], load, resident(child.pid))
        child.kill()
    return found


def _engine() -> None:
    """The child: the library with its defaults."""
    import xllamacpp  # noqa: PLC0415 -- in this process only

    order = json.loads(sys.stdin.readline())
    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.n_ctx, parameters.verbosity = order["model"], order["context"], 1
    server = xllamacpp.Server(parameters)
    print("ready", flush=True)
    body = {"prompt": order["prompt"], "n_predict": order["answer"], "temperature": 0, "seed": 1, "ignore_eos": True}
    last: dict[str, Any] = {}
    began = time.perf_counter()
    server.handle_completions({**body, "stream": True}, last.update)
    seconds = time.perf_counter() - began
    assert last["usage"]["completion_tokens"] == order["answer"], last
    print(json.dumps({"seconds": seconds}), flush=True)
    sys.stdin.read()


def _text(found: Round) -> str:
    return f"{found.request:.2f} s, loaded in {found.load:.2f} s, {found.memory / 2**20:.0f} MiB"


def _report(kind: str, ours: list[Round], theirs: list[Round]) -> None:
    """Medians of each side, their ratios, and whether those are as they must be."""
    budgets = _BUDGETS.get(kind, _NOWHERE_ABOVE)
    for place, (name, budget) in enumerate(zip(Round._fields, budgets, strict=True)):
        ratio = statistics.median(one[place] for one in ours) / statistics.median(one[place] for one in theirs)
        print(f"  {name}: ours / engine's defaults {ratio:.3f}, must be <= {budget}: {_verdict(ratio <= budget)}")


def _verdict(good: bool) -> str:  # noqa: FBT001 -- a word for it
    return "yes" if good else "NO"


if __name__ == "__main__":
    main()
