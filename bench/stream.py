"""The server against the bare engine, in turns: speed of many streams, time to the first token, processor time.

    python -m bench.stream --large 1B.gguf --small 20M.gguf [--only NAME,...] [--json FILE]
    python -m bench.stream --cost [--clients 8]

The first prints a table and, for each row, whether it is what it must be. The second streams from the built-in model to
see what a token costs the server process. Models with random weights come from `bench/random_model.py`.
"""

import argparse
import functools
import json
import random
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.clients import stream_all
from bench.sides import Client, Round, both, processor_seconds
from tests.served import served


class Case(NamedTuple):
    """So many streams of so many tokens, in turns, and the least ratio of the server's speed to the bare engine's."""

    name: str
    model: str
    streams: int
    tokens: int
    rounds: int
    least: float


CASES: Final = (
    Case("1", "large", 1, 64, 10, 0.98),
    Case("8", "large", 8, 48, 6, 0.97),
    Case("32", "large", 32, 64, 3, 0.95),
    Case("small", "small", 8, 256, 12, 0.93),
)
_FIRST: Final = "first"
"""The name of the measurement of first tokens."""
_FIRST_STREAMS: Final = (1, 8)
_FIRST_ROUNDS: Final = 6
_FIRST_REQUESTS: Final = 16
"""Of each client, one after the other."""
_MOST_ADDED: Final = (2.0, 10.0)
"""Milliseconds at the median and at the 99th percentile."""
_CONTEXT: Final = 512
_RESAMPLES: Final = 2000


class Found(NamedTuple):
    """A case's rounds by side, and how both were loaded."""

    rounds: dict[str, list[Round]]
    options: dict[str, Any]


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    models = {"large": asked.large, "small": asked.small}
    only = asked.only.split(",") if asked.only else [*(case.name for case in CASES), _FIRST]
    told: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if asked.cost:
            print(f"one streamed token: {_cost(home, asked.clients):.1f} us of the server's processor time")
        for case in CASES:
            if case.name in only and (model := models[case.model]):
                rounds = asked.rounds or case.rounds
                asking = functools.partial(_at_once, case.tokens)
                told.append(
                    _speeds(case, _run(home, model, case.streams, rounds, asking=asking, threads=asked.threads))
                )
        if _FIRST in only and asked.small:
            for streams in _FIRST_STREAMS:
                found = _run(
                    home, asked.small, streams, asked.rounds or _FIRST_ROUNDS, asking=_relay, threads=asked.threads
                )
                told.append(_firsts(streams, found))
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=Path, help="a model of about a billion parameters")
    parser.add_argument("--small", type=Path, help="a model of about twenty million parameters")
    names = ", ".join([*(case.name for case in CASES), _FIRST])
    parser.add_argument("--only", help=f"some of: {names}")
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument(
        "--threads", type=int, default=0, help="of the engine, on both sides, instead of the server's choice"
    )
    parser.add_argument("--json", type=Path, help="write what was measured to a file")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--clients", type=int, default=8)
    return parser.parse_args()


def _run(
    home: Path, model: Path, streams: int, rounds: int, *, asking: Callable[[int, int], list[Client]], threads: int
) -> Found:
    """Rounds in turn, the order swapped each time; the other side sleeps meanwhile."""
    with both(home, model.resolve(), streams=streams, context=_CONTEXT, threads=threads) as (sides, options):
        found: dict[str, list[Round]] = {name: [] for name in sides}
        for name in sides:
            sides[name].run(_at_once(4, -1, streams))
        for number in range(rounds):
            clients = asking(number, streams)
            for name in sorted(sides, reverse=bool(number % 2)):
                found[name].append(sides[name].timed(clients))
        return Found(found, options)


def _at_once(tokens: int, number: int, streams: int) -> list[Client]:
    """One request of each client, all of a length."""
    return [[(_prompt(number, stream), tokens)] for stream in range(streams)]


def _relay(number: int, streams: int) -> list[Client]:
    """Requests of each client one after the other, of several lengths, so that they do not begin together."""
    return [
        [(_prompt(number, stream, turn), 6 + (5 * stream + 7 * turn) % 11) for turn in range(_FIRST_REQUESTS)]
        for stream in range(streams)
    ]


def _prompt(*numbers: int) -> str:
    """A prompt that has no beginning in common with any before, so that nothing is remembered of them."""
    return ":".join(map(str, numbers)) + " begins a story about"


def _speeds(case: Case, found: Found) -> dict[str, Any]:
    """Print a case's speeds and its verdict."""
    options, rounds = found.options, found.rounds
    rates = {side: [one.tokens / one.seconds for one in some] for side, some in rounds.items()}
    whole = {side: _rate(some) for side, some in rounds.items()}
    work = {side: _sum(some, "processor") / _sum(some, "tokens") * 1e3 for side, some in rounds.items()}
    pairs = list(zip(rounds["server"], rounds["bare"], strict=True))
    median = statistics.median(ours / theirs for ours, theirs in zip(rates["server"], rates["bare"], strict=True))
    low, high = _interval(pairs)
    ratio = whole["server"] / whole["bare"]
    loaded = ", ".join(f"{name} {options[name]}" for name in ("parallel", "context_length", "threads", "batch"))
    print(f"{case.name}: {case.streams} streams of {case.tokens} tokens, {len(pairs)} rounds ({loaded})")
    for side, values in rates.items():
        each = ", ".join(f"{value:.1f}" for value in values)
        print(f"  {side}: {whole[side]:.1f} tokens/s ({each}), {work[side]:.3f} ms of processor time a token")
    print(f"  server / bare: {ratio:.3f} over all, median {median:.3f}, 95 % between {low:.3f} and {high:.3f}")
    print(f"  processor time a token, server / bare: {work['server'] / work['bare']:.3f}")
    verdict = _verdict(ratio >= case.least, low < case.least <= high)
    print(f"  must be at least {case.least}: {verdict}", flush=True)
    expected = case.streams * case.tokens * len(pairs)
    for side in rounds:
        if (tokens := _sum(rounds[side], "tokens")) != expected:
            print(f"  {side}: {tokens:.0f} tokens and not {expected}")
    figures = {"ratio": ratio, "median": median, "low": low, "high": high, "least": case.least, "verdict": verdict}
    told = {side: [_as_json(one) for one in some] for side, some in rounds.items()}
    return {"case": case._asdict(), "options": options, **figures, "processor_ms_a_token": work, "rounds": told}


def _as_json(one: Round) -> dict[str, Any]:
    """A round as JSON has it."""
    return {"tokens": one.tokens, "seconds": one.seconds, "processor": one.processor, "first": one.first}


def _firsts(streams: int, found: Found) -> dict[str, Any]:
    """Print what the server adds to the first token, and the verdict.

    The wait without the engine's own time for the prompt is told beside the wait.
    """
    waits = {side: [each * 1e3 for one in some for each in one.first] for side, some in found.rounds.items()}
    beside = {
        side: [(whole - own) * 1e3 for one in some for whole, own in zip(one.first, one.prompt, strict=True)]
        for side, some in found.rounds.items()
    }
    threads = f"{found.options['threads']} and for prompts {found.options['threads_batch']} engine threads"
    print(f"{_FIRST}: {streams} streams, {len(waits['bare'])} first tokens a side, small model, {threads}")
    told: dict[str, Any] = {"case": _FIRST, "streams": streams, "options": found.options}
    for title, values in (("wait", waits), ("wait beside the engine's prompt", beside)):
        for side, some in values.items():
            print(f"  {title}, {side}: median {statistics.median(some):.2f} ms, p99 {_p99(some):.2f} ms")
    added = [middle(waits["server"]) - middle(waits["bare"]) for middle in (statistics.median, _p99)]
    verdict = _verdict(all(ms <= most for ms, most in zip(added, _MOST_ADDED, strict=True)), unsure=False)
    print(f"  added: median {added[0]:.2f} ms, p99 {added[1]:.2f} ms")
    print(f"  must be at most {_MOST_ADDED[0]} and {_MOST_ADDED[1]} ms: {verdict}", flush=True)
    return told | {"added_ms": {"median": added[0], "p99": added[1]}, "verdict": verdict, "waits_ms": waits}


def _verdict(good: bool, unsure: bool) -> str:  # noqa: FBT001 -- both are named where it is called, or plain
    return ("true" if good else "NOT TRUE") + (", within the noise" if unsure else "")


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def _rate(rounds: Sequence[Round]) -> float:
    return _sum(rounds, "tokens") / _sum(rounds, "seconds")


def _sum(rounds: Sequence[Round], what: str) -> float:
    return float(sum(getattr(one, what) for one in rounds))


def _interval(pairs: Sequence[tuple[Round, Round]]) -> tuple[float, float]:
    """Between which the ratio over all lies in 95 of 100 draws of as many rounds, with repetition."""
    chance = random.Random(1)
    ratios = sorted(_ratio(chance.choices(pairs, k=len(pairs))) for _ in range(_RESAMPLES))
    return ratios[int(_RESAMPLES * 0.025)], ratios[int(_RESAMPLES * 0.975)]


def _ratio(pairs: Sequence[tuple[Round, Round]]) -> float:
    ours, theirs = zip(*pairs, strict=True)
    return _rate(ours) / _rate(theirs)


def _cost(home: Path, clients: int) -> float:
    """Microseconds of the server's processor time for one token, over long answers to several clients at once."""
    settings = {"OLLAMA_NUM_PARALLEL": str(clients), "OLLAMA_CONTEXT_LENGTH": "1024", "OLLAMA_KEEP_ALIVE": "-1"}
    body: Mapping[str, Any] = {"model": "power-tiny", "prompt": "Repeat ok forever.", "think": False}
    with served(home, **settings) as server:
        asked = [{**body, "options": {"temperature": 0, "num_predict": 900}}] * clients
        stream_all(server.port, "/api/generate", asked[:1])
        before = processor_seconds(server.process.pid)
        answers = stream_all(server.port, "/api/generate", asked)
        spent = processor_seconds(server.process.pid) - before
        print(f"server: {server.memory_mib():.1f} MiB")
    tokens = sum(int(answer.last["eval_count"]) for answer in answers)
    return spent / tokens * 1e6


if __name__ == "__main__":
    main()
