"""One long request and ten short ones in the same key-value memory: a slot of its own for each, or one pool for all.

    python -m bench.kv_pool MODEL.gguf [--pool 8192] [--rounds 3] [--long 3600] [--short 128] [--threads 0]

Three engines side by side, asked in turns: the memory as one slot, as two slots, and as a pool that eleven requests
share. Into the pool a request is let when its prompt and its longest answer still fit beside those of all others there,
since a pool that runs full fails everybody in it. All requests come at the same moment, the long one first; what is
told is from that moment on. The pool's engine is llama.cpp's own (`kv_unified`); everything else is the same for all.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

from a3s_power.engines import find

_SHORT_REQUESTS: Final = 10
_KIB: Final = 1024
_IDS: Final = (1000, 2000)
"""Tokens that every vocabulary has."""


class Way(NamedTuple):
    """A way to divide the memory: the tokens of a slot, how many slots, and whether they are one pool."""

    name: str
    context: int
    slots: int
    pool: int = 0


class Asked(NamedTuple):
    """A request: its prompt, and how many tokens it is answered with."""

    prompt: list[int]
    tokens: int

    @property
    def size(self) -> int:
        """What it takes of a pool at most."""
        return len(self.prompt) + self.tokens


class Seen(NamedTuple):
    """Of each request the seconds to its first token and its end, and the processor seconds of all."""

    first: list[float]
    end: list[float]
    processor: float


class Room:
    """Slots, or tokens of a pool: given in the order in which they were asked for."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    def join(self) -> object:
        """A place in the line."""
        place = object()
        self._line.append(place)
        return place

    def take(self, place: object, size: int) -> None:
        """Wait for so much of it."""
        with self._changed:
            self._changed.wait_for(lambda: self._line[0] is place and self._free >= size)
            self._line.popleft()
            self._free -= size
            self._changed.notify_all()

    def give(self, size: int) -> None:
        """So much of it is free again."""
        with self._changed:
            self._free += size
            self._changed.notify_all()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pool", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", type=int, default=3600)
    parser.add_argument("--short", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0, help="0: one for each core")
    asked = parser.parse_args()
    requests = 1 + _SHORT_REQUESTS
    ways = [
        Way("one slot", asked.pool, 1),
        Way("two slots", asked.pool // 2, 2),
        Way("a pool", asked.pool // requests, requests, asked.pool),
    ]
    # As children of the server have it; the library reads it when it is loaded.
    os.environ |= {name: value for name, value in find("llamacpp").environment if name.startswith("GOMP_")}
    engines = {way: _begun(way, asked.model, asked.threads or multiprocessing.cpu_count()) for way in ways}
    seen: dict[Way, list[Seen]] = {way: [] for way in ways}
    for number in range(asked.rounds):
        for way in random.Random(number).sample(ways, len(ways)):
            engines[way].send(_requests(number, asked))
            seen[way].append(engines[way].recv())
    for way in ways:
        engines[way].send(None)
        _tell(way, seen[way], engines[way].recv())


def _requests(number: int, asked: argparse.Namespace) -> list[Asked]:
    """Those of a round, whose prompts have no beginning in common with any before."""
    chance = random.Random(1000 + number)
    lengths = [asked.long, *[asked.short] * _SHORT_REQUESTS]
    return [Asked([chance.randrange(*_IDS) for _ in range(length)], asked.tokens) for length in lengths]


def _begun(way: Way, model: Path, threads: int) -> "Connection[Any, Any]":
    """A process with an engine that divides its memory that way."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    context.Process(target=_serve, args=(theirs, way, str(model), threads), daemon=True).start()
    ours.recv()
    return ours


def _serve(pipe: "Connection[Any, Any]", way: Way, model: str, threads: int) -> None:
    """Load, then answer rounds until there are no more; tells the most memory that it had, in MiB."""
    server = _loaded(way, model, threads)
    pipe.send(None)
    while (requests := pipe.recv()) is not None:
        pipe.send(_round(server, way, [Asked(*one) for one in requests]))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB)


def _loaded(way: Way, model: str, threads: int) -> Any:  # noqa: ANN401 -- the library has no types
    from a3s_power.core.model import ModelFiles  # noqa: PLC0415 -- the measuring process must not hold the library
    from a3s_power.engines import llamacpp_library  # noqa: PLC0415
    from a3s_power.engines.engine import LoadOptions  # noqa: PLC0415
    from a3s_power.engines.llamacpp import LlamaCpp  # noqa: PLC0415

    sys.stdout = sys.stderr
    original = llamacpp_library.parameters

    def divided(*arguments: Any) -> Any:  # noqa: ANN401
        parameters = original(*arguments)
        if way.pool:
            parameters.kv_unified, parameters.n_ctx = True, way.pool
        return parameters

    llamacpp_library.parameters = divided  # type: ignore[assignment]  # the same, but for what it is called with
    engine = LlamaCpp()
    options = LoadOptions(
        context_length=way.context, parallel=way.slots, batch=512, threads=threads, threads_batch=threads, shift=False
    )
    engine.load(ModelFiles(weights=model), options, lambda _: None)
    return engine._server  # noqa: SLF001 -- the bare library


def _round(server: Any, way: Way, requests: Sequence[Asked]) -> Seen:  # noqa: ANN401
    from a3s_power.core.options import DEFAULTS, Options  # noqa: PLC0415
    from a3s_power.engines import llamacpp_wire as wire  # noqa: PLC0415
    from a3s_power.engines.engine import Job  # noqa: PLC0415

    room = Room(way.pool or way.slots)
    first, end, failed = [0.0] * len(requests), [0.0] * len(requests), list[bytes]()
    before, began = time.process_time(), time.perf_counter()

    def run(number: int, place: object) -> None:
        asked = requests[number]
        options = Options.merged(DEFAULTS, Options(temperature=0.0, num_predict=asked.tokens, ignore_eos=True))
        job = Job(asked.prompt, options, max_tokens=asked.tokens)
        size = asked.size if way.pool else 1
        last = b""

        def take(chunk: bytes) -> bool:
            nonlocal last
            if not first[number] and b'"prompt_progress"' not in chunk:
                first[number] = time.perf_counter() - began
            last = chunk
            return False

        room.take(place, size)
        server.handle_completions(wire.completion(job, asked.prompt, way.pool or way.context), take)
        room.give(size)
        end[number] = time.perf_counter() - began
        if json.loads(last).get("timings", {}).get("predicted_n") != asked.tokens:
            failed.append(last[:300])

    threads = [threading.Thread(target=run, args=(number, room.join())) for number in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        print(f"{way.name}: {len(failed)} of {len(requests)} failed, the last with {failed[-1]!r}", file=sys.stderr)
    return Seen(first, end, time.process_time() - before)


def _tell(way: Way, seen: Sequence[Seen], memory: float) -> None:
    def middle(values: Sequence[float]) -> float:
        return statistics.median(values)

    whole = middle([max(one.end) for one in seen])
    work = middle([one.processor for one in seen])
    long = middle([one.end[0] for one in seen])
    ends = [end for one in seen for end in one.end[1:]]
    firsts = [first for one in seen for first in one.first[1:]]
    print(
        f"{way.name:>9}: all {whole:6.2f} s ({work:6.2f} s of processor time), the long one {long:6.2f} s; "
        f"short ones: first token p50 {middle(firsts):6.2f} s, p99 {max(firsts):6.2f} s, "
        f"end p50 {middle(ends):6.2f} s, p99 {max(ends):6.2f} s; {memory:.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
