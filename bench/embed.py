"""Vectors of many short texts: the server against the bare engine, in turns, on one model with the same settings.

    python -m bench.embed MODEL.gguf [--texts 1000] [--rounds 5] [--words 10]

The bare engine is called in a process of its own with one list of all texts, and its answer is left as it is. The
server is asked in the three forms that its clients use; `--beside` sends small requests meanwhile, and tells how long
those wait.
"""

import argparse
import functools
import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.sides import installed, processor_seconds
from tests.served import Served, environment, served

_WORDS: Final = "the of and river city small bright engine paper cloud green fast music number tree window".split()  # noqa: SIM905
_FORMS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "/api/embed": ("/api/embed", {}),
    "/v1/embeddings, floats": ("/v1/embeddings", {}),
    "/v1/embeddings, base64": ("/v1/embeddings", {"encoding_format": "base64"}),
}


class Took(NamedTuple):
    """Seconds of a round by the clock, and of the processes that answered it."""

    wall: float
    processor: float


def main() -> None:
    """Measure and print."""
    if sys.argv[1:] == ["--bare"]:
        _be_bare()
        return
    asked = _arguments()
    chance = random.Random(1)
    texts = [" ".join(chance.choice(_WORDS) for _ in range(asked.words)) for _ in range(asked.texts)]
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), OLLAMA_KEEP_ALIVE="-1") as server:
        weights = installed(server, asked.model.resolve())
        _ask(server, "/api/embed", {"input": texts[:1]})
        (loaded,) = server.get("/status")["loaded_models"]
        options = loaded["load_options"]
        slots, threads = options["parallel"], options["threads_batch"]
        print(f"{asked.texts} texts of {asked.words} words, {slots} slots, {threads} threads")
        with _bare(server, weights, options) as bare:
            sides: dict[str, Callable[[], Took]] = {"bare engine": lambda: _of_bare(bare, texts)}
            for name, (path, body) in _FORMS.items():
                sides[name] = functools.partial(_of_server, server, path, body | {"input": texts})
            _tell(_rounds(sides, asked.rounds), asked.texts)
            bare.kill()
        if asked.beside:
            _tell_waits(server, texts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--words", type=int, default=10)
    parser.add_argument("--beside", action="store_true")
    return parser.parse_args()


def _be_bare() -> None:
    """Load the model as our child does, then answer lists of texts until the input ends."""
    # Only in this process: the measuring one must not hold the library.
    import msgspec  # noqa: PLC0415

    from a3s_power.core.model import ModelFiles  # noqa: PLC0415
    from a3s_power.engines import llamacpp_wire as wire  # noqa: PLC0415
    from a3s_power.engines.engine import LoadOptions  # noqa: PLC0415
    from a3s_power.engines.llamacpp import LlamaCpp  # noqa: PLC0415

    # What the engine prints must not come between the answers.
    told, sys.stdout = sys.stdout, sys.stderr
    order = json.loads(sys.stdin.readline())
    engine = LlamaCpp()
    engine.load(ModelFiles(weights=order["weights"]), msgspec.convert(order["options"], LoadOptions), lambda _: None)
    print("true", file=told, flush=True)
    for line in sys.stdin:
        body = wire.embedding(json.loads(line), normalize=True)
        began = time.perf_counter()
        engine._server.handle_embeddings(body)  # noqa: SLF001 -- the bare library
        print(time.perf_counter() - began, file=told, flush=True)


def _bare(server: Served, weights: Path, options: dict[str, Any]) -> "subprocess.Popen[str]":
    from a3s_power import engines  # noqa: PLC0415 -- as above

    # Without what makes the engine tell its progress: that would come between the answers.
    said = {name: value for name, value in engines.find("llamacpp").environment if name.startswith(("GOMP", "GGML"))}
    environ = environment(server.home, said)
    command = [sys.executable, "-m", "bench.embed", "--bare"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True)
    _order(process, {"weights": str(weights), "options": options})
    return process


def _order(process: "subprocess.Popen[str]", order: object) -> Any:  # noqa: ANN401 -- JSON
    if process.stdin is None or process.stdout is None:
        raise SystemExit("the bare engine has no pipes")
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def _of_bare(process: "subprocess.Popen[str]", texts: Sequence[str]) -> Took:
    before = processor_seconds(process.pid)
    wall = _order(process, texts)
    return Took(wall, processor_seconds(process.pid) - before)


def _of_server(server: Served, path: str, body: dict[str, Any]) -> Took:
    processes = [server.process.pid, *server.children()]
    before = sum(map(processor_seconds, processes))
    wall = _ask(server, path, body)
    return Took(wall, sum(map(processor_seconds, processes)) - before)


def _ask(server: Served, path: str, body: dict[str, Any]) -> float:
    """Seconds until the whole answer is here; it is not read into numbers, as the bare engine's is not."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    sent = json.dumps({"model": "bench"} | body)
    began = time.perf_counter()
    connection.request("POST", path, sent)
    answer = connection.getresponse()
    answer.read()
    took = time.perf_counter() - began
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status}")
    return took


def _rounds(sides: dict[str, Callable[[], Took]], rounds: int) -> dict[str, list[Took]]:
    found: dict[str, list[Took]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            found[name].append(sides[name]())
    return found


def _tell(found: dict[str, list[Took]], texts: int) -> None:
    bare = found["bare engine"]
    for name, rounds in found.items():
        rate = texts / statistics.median(took.wall for took in rounds)
        # Each round against the bare engine's of the same turn, which the machine disturbed alike.
        wall = statistics.median(theirs.wall / ours.wall for ours, theirs in zip(rounds, bare, strict=True))
        work = sum(took.processor for took in rounds) / sum(took.processor for took in bare)
        print(f"{name:<24} {rate:>7.1f} texts/s  of the bare engine's {wall:.3f}  processor time {work:.3f}")


def _tell_waits(server: Served, texts: Sequence[str]) -> None:
    """What one text waits for while a client has five lists of all texts made."""
    alone = statistics.median(_ask(server, "/api/embed", {"input": "one"}) for _ in range(20))
    big = threading.Thread(target=lambda: [_ask(server, "/api/embed", {"input": texts}) for _ in range(5)])
    waits = []
    big.start()
    while big.is_alive():
        waits.append(_ask(server, "/api/embed", {"input": "one"}))
    big.join()
    told = f"median {statistics.median(waits) * 1000:.0f} ms, longest {max(waits) * 1000:.0f} ms of {len(waits)}"
    print(f"one text alone {alone * 1000:.0f} ms, beside lists of {len(texts)}: {told}")


if __name__ == "__main__":
    main()
