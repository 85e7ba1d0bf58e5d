"""The server against the bare engine, in one run: speed of many streams, time to the first token, processor time.

`python -m bench.stream MODEL.gguf` takes turns between eight clients of a real server and eight threads of the bare
engine, on the same model with the same settings, and prints ratios. With `--cost` it also streams from the built-in
model to see what a token costs the server process. A model with random weights comes from `bench/random_model.py`.
"""

import argparse
import http.client
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.bare import Bare
from tests.served import Served, environment, served

_TICKS = os.sysconf("SC_CLK_TCK")

Side = Callable[[list[str], int], dict[str, float]]
"""Runs prompts at once, each for so many tokens: tokens, seconds, and the median time to the first piece."""


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = {"OLLAMA_NUM_PARALLEL": str(asked.clients), "OLLAMA_CONTEXT_LENGTH": str(asked.context)}
        with served(home, OLLAMA_KEEP_ALIVE="-1", **settings) as server:
            print(f"idle server: {server.memory_mib():.1f} MiB")
            if asked.cost:
                print(f"one streamed token: {_cost(server, asked.clients):.1f} us of the server's processor time")
            if asked.model:
                _compare(server, asked)
            print(f"server after that: {server.memory_mib():.1f} MiB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cost", action="store_true")
    return parser.parse_args()


def _compare(server: Served, asked: argparse.Namespace) -> None:
    """Rounds in turn, the order swapped each time; the other side sleeps meanwhile."""
    _install(server, asked.model)
    prompts = [f"This is stream number {number}, about" for number in range(asked.clients)]
    options = {"context_length": asked.context, "parallel": asked.clients, "batch": 128, "prompt_cache_mib": 1024}
    options |= {"threads": asked.threads, "threads_batch": asked.threads}
    with Bare(asked.model.resolve(), options, environment(server.home, {}) | {"GOMP_SPINCOUNT": "2000"}) as bare:
        sides: dict[str, Side] = {
            "server": lambda some, tokens: _round(server, some, tokens, asked.threads),
            "bare": bare.round,
        }
        for side in sides.values():
            side(prompts, 4)
        processes = {"server": [server.process.pid, *server.children()], "bare": [bare.pid]}
        found: dict[str, list[dict[str, float]]] = {"server": [], "bare": []}
        for number in range(asked.rounds):
            for name in ("server", "bare") if number % 2 else ("bare", "server"):
                found[name].append(_timed(sides[name], prompts, asked.tokens, processes[name]))
        _report(found)
        _report_first({name: [side(prompts[:1], 1)["first"] for _ in range(20)] for name, side in sides.items()})


def _timed(side: Side, prompts: list[str], tokens: int, processes: list[int]) -> dict[str, float]:
    """A round, and the processor time that its own processes took for it."""
    before = sum(map(processor_seconds, processes))
    measured = side(prompts, tokens)
    return measured | {"processor": sum(map(processor_seconds, processes)) - before}


def _report(found: dict[str, list[dict[str, float]]]) -> None:
    """Wall clock by round and over all, and processor time, which other jobs on the machine disturb less."""
    rates = {name: [one["tokens"] / one["seconds"] for one in rounds] for name, rounds in found.items()}
    whole = {name: _sum(rounds, "tokens") / _sum(rounds, "seconds") for name, rounds in found.items()}
    work = {name: _sum(rounds, "processor") / _sum(rounds, "tokens") * 1000 for name, rounds in found.items()}
    for name, values in rates.items():
        each = ", ".join(f"{value:.1f}" for value in values)
        print(f"{name}: {whole[name]:.1f} tokens/s ({each}), {work[name]:.2f} ms of processor time a token")
    ratios = [ours / theirs for ours, theirs in zip(rates["server"], rates["bare"], strict=True)]
    print(f"server / bare: {whole['server'] / whole['bare']:.3f} over all, median {statistics.median(ratios):.3f}")
    print(f"processor time a token, server / bare: {work['server'] / work['bare']:.3f}")


def _sum(rounds: list[dict[str, float]], what: str) -> float:
    return sum(one[what] for one in rounds)


def _report_first(found: dict[str, list[float]]) -> None:
    ours, theirs = (statistics.median(found[name]) * 1000 for name in ("server", "bare"))
    print(f"first token: server {ours:.2f} ms, bare {theirs:.2f} ms, added {ours - theirs:.2f} ms")


def _install(server: Served, model: Path) -> None:
    import hashlib  # noqa: PLC0415 -- only where a model is given

    with model.open("rb") as content:
        digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    with model.open("rb") as content:
        connection.request("POST", f"/api/blobs/{digest}", content, {"Content-Length": str(model.stat().st_size)})
        assert connection.getresponse().status in (200, 201)
    connection.close()
    server.post("/api/create", {"model": "bench", "files": {"bench.gguf": digest}, "stream": False}, timeout=600)


def _round(server: Served, prompts: list[str], tokens: int, threads: int) -> dict[str, float]:
    """All prompts at once, one connection each; the same measures as the bare engine's."""
    first: list[float] = []
    counts: list[int] = []

    def stream(prompt: str) -> None:
        options = {"num_predict": tokens, "temperature": 0, "num_thread": threads, "num_batch": 128}
        took, last = _stream(server, {"model": "bench", "prompt": prompt, "raw": True, "options": options})
        first.append(took)
        counts.append(last["eval_count"])

    workers = [threading.Thread(target=stream, args=(prompt,)) for prompt in prompts]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"tokens": sum(counts), "seconds": time.perf_counter() - began, "first": statistics.median(first)}


def _stream(server: Served, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Seconds to the first line, and the last line."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    connection.connect()
    began = time.perf_counter()
    connection.request("POST", "/api/generate", json.dumps(body))
    answer = connection.getresponse()
    line = answer.readline()
    took = time.perf_counter() - began
    for following in answer:
        line = following
    connection.close()
    last: dict[str, Any] = json.loads(line)
    assert last.get("done"), last
    return took, last


def _cost(server: Served, clients: int) -> float:
    """Microseconds of the server's processor time for one token, over long answers to several clients at once."""
    body = {"model": "power-tiny", "prompt": "Repeat ok forever.", "think": False}
    options = {"temperature": 0, "num_predict": 900, "num_ctx": 1024}
    _stream(server, body | {"options": options | {"num_predict": 2}})
    tokens: list[int] = []

    def stream() -> None:
        tokens.append(_stream(server, body | {"options": options})[1]["eval_count"])

    before = processor_seconds(server.process.pid)
    workers = [threading.Thread(target=stream) for _ in range(clients)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (processor_seconds(server.process.pid) - before) / sum(tokens) * 1e6


def processor_seconds(pid: int) -> float:
    """The processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
